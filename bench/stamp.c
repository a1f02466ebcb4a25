// Reads the monotonic clock and writes it, as 16 raw bytes (seconds, nanoseconds), with nothing of
// a C library before it.

struct timespec_words {
  long seconds;
  long nanoseconds;
};

static long system_call(long number, long a, long b, long c) {
#if defined(__x86_64__)
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
  return x0;
#endif
}

#if defined(__x86_64__)
enum { kWrite = 1, kClockGettime = 228, kExitGroup = 231 };
#elif defined(__aarch64__)
enum { kWrite = 64, kClockGettime = 113, kExitGroup = 94 };
#endif

void _start(void) {
  struct timespec_words now;
  system_call(kClockGettime, 1 /* CLOCK_MONOTONIC */, (long)&now, 0);
  system_call(kWrite, 1, (long)&now, sizeof(now));
  system_call(kExitGroup, 0, 0, 0);
  for (;;) {
  }
}
