/* Reads the monotonic clock and writes it, as 16 raw bytes (seconds, nanoseconds). */
#include "payload.h"

struct timespec_words {
  long seconds;
  long nanoseconds;
};

void _start(void) {
  struct timespec_words now;
  system_call(kClockGettime, 1 /* CLOCK_MONOTONIC */, (long)&now, 0);
  system_call(kWrite, 1, (long)&now, sizeof(now));
  end_program(0);
}
