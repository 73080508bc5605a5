// Threads of the CPU backend: OpenMP teams of the size that the user set, smaller where the work is
// small.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace postlude {
namespace detail {

// How many threads to use for `items` pieces of work that take about `microseconds` on one thread.
// Starting a team costs a few microseconds, so each thread gets at least that much to do.
inline int team_size(std::int64_t items, double microseconds) {
  constexpr double microseconds_a_thread = 4.0;
  if (omp_in_parallel()) return 1;
  const auto worthwhile =
      static_cast<std::int64_t>(std::min(microseconds / microseconds_a_thread, 1e9));
  return static_cast<int>(std::max<std::int64_t>(
      1, std::min({static_cast<std::int64_t>(omp_get_max_threads()), items, worthwhile})));
}

struct Range {
  std::int64_t begin;
  std::int64_t end;
};

// The contiguous share of `items` that belongs to thread `thread` of `team`.
inline Range share(std::int64_t items, int thread, int team) {
  return {items * thread / team, items * (thread + 1) / team};
}

// While it lives, OpenMP teams that this thread starts have one thread. oneDNN builds a primitive
// for the team size of the moment, and its older kernels also split their work by the team size at
// run time, which would show in the bits.
class OneThread {
 public:
  OneThread() : saved_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(saved_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int saved_;
};

// Runs work(thread, team) on each thread of a team. Inside `work` no further team starts; it must
// not throw.
template <class Work>
void run_team(int threads, const Work& work) {
  if (threads <= 1) {
    const OneThread guard;
    work(0, 1);
    return;
  }
#pragma omp parallel num_threads(threads)
  work(omp_get_thread_num(), omp_get_num_threads());
}

// Runs work(i) for i < items, `microseconds` being the whole work's time on one thread.
template <class Work>
void for_each_item(std::int64_t items, double microseconds, const Work& work) {
  run_team(team_size(items, microseconds), [&](int thread, int team) {
    const Range mine = share(items, thread, team);
    for (std::int64_t i = mine.begin; i < mine.end; ++i) work(i);
  });
}

}  // namespace detail
}  // namespace postlude
