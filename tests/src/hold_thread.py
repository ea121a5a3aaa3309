# Holds one thread of another process, as a tracer, until standard input ends. The others run on.
import ctypes
import os
import sys

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WAIT_ALL = 0x40000000  # __WALL: threads of others as well

thread = int(sys.argv[1])
library = ctypes.CDLL(None, use_errno=True)
library.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
library.ptrace.restype = ctypes.c_long
for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
    if library.ptrace(request, thread, None, None) != 0:
        sys.exit(f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")
os.waitpid(thread, WAIT_ALL)
print("held", flush=True)
sys.stdin.read()
