// show_config: the version and what this build holds.
#include <string>

#include "backend.hpp"
#include "postlude/ops.hpp"
#include "postlude/version.hpp"

namespace postlude {
inline namespace v1 {

std::string show_config() {
  std::string text = "postlude " + std::to_string(POSTLUDE_VERSION_MAJOR) + "." +
                     std::to_string(POSTLUDE_VERSION_MINOR) + "." +
                     std::to_string(POSTLUDE_VERSION_PATCH) + "\n";
  text += detail::cpu_backend()->config();
  text +=
      detail::cuda_backend() != nullptr ? detail::cuda_backend()->config() : "cuda: not built\n";
  return text;
}

}  // namespace v1
}  // namespace postlude
