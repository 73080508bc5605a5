// Runs a fuzz target on random bytes, for compilers without libFuzzer.
//
// Usage: DRIVER [SECONDS [FIRST_SEED]]. Input number n is the same in every run. Where one breaks a
// rule or a sanitizer's, its number is printed: DRIVER 0 NUMBER runs it alone.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "support/random.hpp"
#include "target.hpp"

// Sanitizers then end with a signal, which is told below.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "abort_on_error=1";
}
extern "C" __attribute__((visibility("default"))) const char* __ubsan_default_options() {
  return "abort_on_error=1:print_stacktrace=1";
}

namespace {

unsigned long long current = 0;

void say_current() { std::fprintf(stderr, "\ninput %llu did that\n", current); }

void on_signal(int number) {
  say_current();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void run_one(unsigned long long number) {
  current = number;
  postlude::test::Random random(number);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(random.integer(0, 4096)));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.bits());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

}  // namespace

int main(int count, char** arguments) {
  using Clock = std::chrono::steady_clock;
  const double seconds = count > 1 ? std::atof(arguments[1]) : 10.0;
  const unsigned long long first = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 0;
  for (int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(number, on_signal);
  const auto start = Clock::now();
  unsigned long long number = first;
  do {
    run_one(number++);
  } while (std::chrono::duration<double>(Clock::now() - start).count() < seconds);
  std::printf("%llu inputs, from %llu: nothing broken\n", number - first, first);
  return 0;
}
