// What the C interface says of the library: version, configuration and names.
#include <cstdlib>

#include "capi/arguments.hpp"
#include "capi/status.hpp"

#define POSTLUDE_TEXT_(x) #x
#define POSTLUDE_TEXT(x) POSTLUDE_TEXT_(x)

using namespace postlude::capi;  // NOLINT: C functions alone follow

const char* postlude_version(void) {
  return POSTLUDE_TEXT(POSTLUDE_VERSION_MAJOR) "." POSTLUDE_TEXT(
      POSTLUDE_VERSION_MINOR) "." POSTLUDE_TEXT(POSTLUDE_VERSION_PATCH);
}

postlude_status postlude_show_config(char** text) {
  return guarded([&] { give_text("show_config", text, [] { return postlude::show_config(); }); });
}

void postlude_free_text(char* text) { std::free(text); }

postlude_status postlude_parse_activation(const char* name, int32_t* activation) {
  return guarded([&] {
    const char* op = "parse_activation";
    present(op, "activation", activation) =
        static_cast<int32_t>(postlude::parse_activation(&present(op, "name", name)));
  });
}

const char* postlude_activation_name(int32_t activation) {
  if (activation < 0 || activation > static_cast<int32_t>(postlude::Activation::relu2)) {
    return nullptr;
  }
  return postlude::to_string(static_cast<postlude::Activation>(activation));
}
