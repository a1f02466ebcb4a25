/* For the payloads: programs without a C library, so that what is measured is not its start. */
#pragma once

#if defined(__x86_64__)
enum { kWrite = 1, kClockGettime = 228, kExitGroup = 231 };
#elif defined(__aarch64__)
enum { kWrite = 64, kClockGettime = 113, kExitGroup = 94 };
#endif

static inline long system_call(long number, long a, long b, long c) {
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

static inline void end_program(int code) {
  for (;;) system_call(kExitGroup, code, 0, 0);
}
