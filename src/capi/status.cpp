// Statuses of the C interface, and the text of each thread's last error.
#include "capi/status.hpp"

#include <exception>
#include <new>
#include <stdexcept>

#include "postlude/error.hpp"

namespace postlude {
namespace capi {
namespace {

struct LastError {
  std::exception_ptr exception;
  const char* text = "";  // of that exception, or a literal
  int cuda_code = 0;
};

LastError& last_error() noexcept {
  thread_local LastError error;
  return error;
}

// Keeps the exception, and with it the text: nothing is copied that memory might lack for.
postlude_status keep(postlude_status status, const char* text) noexcept {
  LastError& last = last_error();
  last.exception = std::current_exception();
  last.text = text;
  return status;
}

}  // namespace

postlude_status record_exception() noexcept {
  try {
    throw;
  } catch (const std::invalid_argument& error) {
    return keep(POSTLUDE_INVALID_ARGUMENT, error.what());
  } catch (const Unsupported& error) {
    return keep(POSTLUDE_UNSUPPORTED, error.what());
  } catch (const CudaError& error) {
    last_error().cuda_code = error.code();
    return keep(POSTLUDE_CUDA_ERROR, error.what());
  } catch (const std::bad_alloc&) {
    return keep(POSTLUDE_OUT_OF_MEMORY, "the host is out of memory");
  } catch (const std::exception& error) {
    return keep(POSTLUDE_INTERNAL_ERROR, error.what());
  } catch (...) {
    return keep(POSTLUDE_INTERNAL_ERROR, "an exception of an unknown type");
  }
}

}  // namespace capi
}  // namespace postlude

const char* postlude_last_error(void) { return postlude::capi::last_error().text; }
int32_t postlude_last_cuda_error(void) { return postlude::capi::last_error().cuda_code; }

const char* postlude_status_name(postlude_status status) {
  switch (status) {
    case POSTLUDE_OK:
      return "ok";
    case POSTLUDE_INVALID_ARGUMENT:
      return "invalid argument";
    case POSTLUDE_UNSUPPORTED:
      return "unsupported";
    case POSTLUDE_CUDA_ERROR:
      return "CUDA error";
    case POSTLUDE_OUT_OF_MEMORY:
      return "out of memory";
    case POSTLUDE_INTERNAL_ERROR:
      return "internal error";
    default:
      return "unknown status";
  }
}
