// show_config: the version and what this build holds.
#include <string>

#include "backend.hpp"
#include "postlude/ops.hpp"
#include "postlude/postlude.h"

namespace postlude {
inline namespace v1 {

std::string show_config() {
  std::string text = "postlude " + std::string(postlude_version()) + "\n";
  text += detail::cpu_backend()->config();
  text +=
      detail::cuda_backend() != nullptr ? detail::cuda_backend()->config() : "cuda: not built\n";
  return text;
}

}  // namespace v1
}  // namespace postlude
