#include "runtime/c_api.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/file.h"
#include "runtime/hardware_devices.h"
#include "runtime/named_devices.h"
#include "runtime/package.h"
#include "runtime/session.h"

namespace {

using weft::Call;
using weft::DataType;
using weft::HostTensor;
using weft::Session;

static_assert(WEFT_DTYPE_F64 == static_cast<int>(DataType::kF64));
static_assert(WEFT_STATUS_DATA_LOSS == static_cast<int>(absl::StatusCode::kDataLoss));

thread_local std::string error_text;
thread_local const char* error_message = "";

int Fail(const absl::Status& status) {
  error_text = std::string(status.message());
  error_message = error_text.c_str();
  return static_cast<int>(status.code());
}

// What an entry point does when it failed: it returns the status, or else null or a number.
template <typename R>
R Failed(int status, R otherwise) {
  if constexpr (std::is_same_v<R, int>) {
    return otherwise == WEFT_STATUS_OK ? status : otherwise;
  } else {
    return otherwise;
  }
}

// Runs the inside of an entry point: no exception leaves it, since callers may be written in any
// language. `otherwise` is what it returns after an error; WEFT_STATUS_OK stands for the status.
template <typename R, typename Inside>
R Barrier(R otherwise, const Inside& inside) noexcept {
  try {
    try {
      return inside();
    } catch (const std::bad_alloc&) {
      error_message = "no memory";
      return Failed(WEFT_STATUS_RESOURCE_EXHAUSTED, otherwise);
    } catch (const std::length_error&) {
      error_message = "no memory";
      return Failed(WEFT_STATUS_RESOURCE_EXHAUSTED, otherwise);
    } catch (const std::exception& error) {
      return Failed(Fail(absl::InternalError(error.what())), otherwise);
    }
  } catch (...) {
    error_message = "failed for an unknown reason";
    return Failed(WEFT_STATUS_INTERNAL, otherwise);
  }
}

absl::Status Missing(const char* what) {
  return absl::InvalidArgumentError(absl::StrCat("expected ", what, ", got NULL"));
}

int Result(const absl::Status& status) {
  return status.ok() ? static_cast<int>(WEFT_STATUS_OK) : Fail(status);
}

// A value's description with the memory behind it.
struct Value {
  explicit Value(const Session::ValueInfo& from) : info(from) {
    for (const std::string& dim : info.dims) dims.push_back(dim.c_str());
    c_info = {info.name.c_str(), static_cast<int32_t>(info.dtype),
              static_cast<int32_t>(dims.size()), dims.data()};
  }
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;

  Session::ValueInfo info;
  std::vector<const char*> dims;
  WeftValueInfo c_info;
};

struct Signature {
  std::string name;
  std::deque<Value> inputs, outputs;
};

// A field of an options struct, or its default where the caller's struct is older than the field.
template <typename Options, typename Field>
Field Get(const Options* options, Field Options::* field, Field otherwise) {
  if (options == nullptr) return otherwise;
  const auto offset = static_cast<size_t>(reinterpret_cast<const char*>(&(options->*field)) -
                                          reinterpret_cast<const char*>(options));
  return offset + sizeof(Field) <= options->struct_size ? options->*field : otherwise;
}

}  // namespace

struct WeftSession {
  std::unique_ptr<Session> session;
  std::deque<Signature> signatures;
};

struct WeftCall {
  std::unique_ptr<Call> call;
  // What is fed, as views that are pointed to the elements of each feed.
  std::vector<HostTensor> inputs;
};

namespace {

WeftSession* Wrap(absl::StatusOr<std::unique_ptr<Session>> session) {
  if (!session.ok()) {
    Fail(session.status());
    return nullptr;
  }
  auto wrapped = std::make_unique<WeftSession>();
  wrapped->session = *std::move(session);
  for (const Session::SignatureInfo& info : wrapped->session->Signatures()) {
    Signature& signature = wrapped->signatures.emplace_back();
    signature.name = info.name;
    for (const Session::ValueInfo& input : info.inputs) signature.inputs.emplace_back(input);
    for (const Session::ValueInfo& output : info.outputs) signature.outputs.emplace_back(output);
  }
  return wrapped.release();
}

using PackageBytes = absl::StatusOr<std::shared_ptr<const weft::Bytes>>;

absl::Status SetDevices(const WeftSessionOptions* options,
                        const std::function<PackageBytes()>& package,
                        weft::SessionOptions* result) {
  const char* none = nullptr;
  const char* main = Get(options, &WeftSessionOptions::device, none);
  const WeftNamedDevice* given = Get(options, &WeftSessionOptions::named_devices,
                                     static_cast<const WeftNamedDevice*>(nullptr));
  const size_t count = Get(options, &WeftSessionOptions::num_named_devices, size_t{0});
  if (count > 0 && given == nullptr) return Missing("devices");
  weft::DeviceNames named;
  for (size_t i = 0; i < count; ++i) {
    if (given[i].name == nullptr || given[i].device == nullptr) {
      return Missing("the name of a device");
    }
    if (!named.emplace(given[i].name, given[i].device).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected one device for '", given[i].name, "', got two"));
    }
  }
  if (!named.empty()) {
    PackageBytes bytes = package();
    if (!bytes.ok()) return bytes.status();
    const absl::StatusOr<std::set<std::string>> placed = weft::DevicesOfPackage(*bytes);
    if (!placed.ok()) return placed.status();
    absl::Status known = weft::CheckNames(named, *placed, (*bytes)->path());
    if (!known.ok()) return known;
  }
  return weft::SetDevices(main == nullptr ? "cpu" : main, named, weft::MakeHardwareDevice, result);
}

// `package` gives the bytes of the one that the session is for.
absl::StatusOr<weft::SessionOptions> OptionsOf(const WeftSessionOptions* options,
                                               const std::function<PackageBytes()>& package) {
  weft::SessionOptions result;
  result.threads = Get(options, &WeftSessionOptions::threads, result.threads);
  const int32_t calls = Get(options, &WeftSessionOptions::max_cached_calls, 0);
  if (calls > 0) result.max_cached_plans = calls;
  result.max_memory_bytes =
      Get(options, &WeftSessionOptions::max_memory_bytes, result.max_memory_bytes);
  const int64_t cached = Get(options, &WeftSessionOptions::max_cached_bytes, int64_t{0});
  if (cached > 0) result.max_cached_bytes = cached;
  if (absl::Status status = SetDevices(options, package, &result); !status.ok()) return status;
  return result;
}

const Signature* Find(const WeftSession* session, const char* name) {
  if (session == nullptr || name == nullptr) {
    Fail(Missing(session == nullptr ? "a session" : "the name of a signature"));
    return nullptr;
  }
  for (const Signature& signature : session->signatures) {
    if (signature.name == name) return &signature;
  }
  Fail(absl::NotFoundError(absl::StrCat("there is no signature '", name, "'")));
  return nullptr;
}

const WeftValueInfo* At(const std::deque<Value>& values, int32_t index) {
  if (index >= 0 && static_cast<size_t>(index) < values.size()) {
    return &values[static_cast<size_t>(index)].c_info;
  }
  Fail(absl::InvalidArgumentError(
      absl::StrCat("expected an index below ", values.size(), ", got ", index)));
  return nullptr;
}

absl::Status CheckIndex(int32_t index, int count, const char* what) {
  if (index >= 0 && index < count) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected an index of ", what, " below ", count, ", got ", index));
}

}  // namespace

extern "C" {

int weft_c_api_version(void) { return WEFT_C_API_VERSION; }

const char* weft_error_message(void) { return error_message; }

WeftSession* weft_session_load(const char* path, const WeftSessionOptions* options) {
  return Barrier<WeftSession*>(nullptr, [&]() -> WeftSession* {
    if (path == nullptr) return Wrap(Missing("a path"));
    const auto with = OptionsOf(options, [&] { return weft::Bytes::Map(path); });
    return Wrap(with.ok() ? Session::Load(path, *with) : with.status());
  });
}

WeftSession* weft_session_from_memory(const void* bytes, size_t size,
                                      const WeftSessionOptions* options) {
  return Barrier<WeftSession*>(nullptr, [&]() -> WeftSession* {
    if (bytes == nullptr && size > 0) return Wrap(Missing("the bytes of a package"));
    const std::string_view package(static_cast<const char*>(bytes), size);
    const auto with =
        OptionsOf(options, [&]() -> PackageBytes { return weft::Bytes::Of(package); });
    return Wrap(with.ok() ? Session::FromPackage(package, *with) : with.status());
  });
}

void weft_session_free(WeftSession* session) { delete session; }

int32_t weft_session_num_signatures(const WeftSession* session) {
  return Barrier<int32_t>(-1, [&] {
    if (session != nullptr) return static_cast<int32_t>(session->signatures.size());
    Fail(Missing("a session"));
    return -1;
  });
}

const char* weft_session_signature_name(const WeftSession* session, int32_t index) {
  return Barrier<const char*>(nullptr, [&]() -> const char* {
    const int32_t count = weft_session_num_signatures(session);
    if (count < 0) return nullptr;
    if (absl::Status status = CheckIndex(index, count, "a signature"); !status.ok()) {
      Fail(status);
      return nullptr;
    }
    return session->signatures[static_cast<size_t>(index)].name.c_str();
  });
}

int32_t weft_session_num_inputs(const WeftSession* session, const char* signature) {
  return Barrier<int32_t>(-1, [&] {
    const Signature* found = Find(session, signature);
    return found == nullptr ? -1 : static_cast<int32_t>(found->inputs.size());
  });
}

int32_t weft_session_num_outputs(const WeftSession* session, const char* signature) {
  return Barrier<int32_t>(-1, [&] {
    const Signature* found = Find(session, signature);
    return found == nullptr ? -1 : static_cast<int32_t>(found->outputs.size());
  });
}

const WeftValueInfo* weft_session_input(const WeftSession* session, const char* signature,
                                        int32_t index) {
  return Barrier<const WeftValueInfo*>(nullptr, [&] {
    const Signature* found = Find(session, signature);
    return found == nullptr ? nullptr : At(found->inputs, index);
  });
}

const WeftValueInfo* weft_session_output(const WeftSession* session, const char* signature,
                                         int32_t index) {
  return Barrier<const WeftValueInfo*>(nullptr, [&] {
    const Signature* found = Find(session, signature);
    return found == nullptr ? nullptr : At(found->outputs, index);
  });
}

WeftCall* weft_session_prepare(WeftSession* session, const char* signature,
                               const int64_t* const* shapes) {
  return Barrier<WeftCall*>(nullptr, [&]() -> WeftCall* {
    const Signature* found = Find(session, signature);
    if (found == nullptr) return nullptr;
    auto call = std::make_unique<WeftCall>();
    std::vector<std::vector<int64_t>> sizes;
    for (size_t i = 0; i < found->inputs.size(); ++i) {
      const size_t rank = found->inputs[i].dims.size();
      if (rank > 0 && (shapes == nullptr || shapes[i] == nullptr)) {
        Fail(Missing("a shape for each input"));
        return nullptr;
      }
      sizes.emplace_back();
      if (rank > 0) sizes.back().assign(shapes[i], shapes[i] + rank);
    }
    absl::StatusOr<std::unique_ptr<Call>> prepared = session->session->Prepare(signature, sizes);
    if (!prepared.ok()) {
      Fail(prepared.status());
      return nullptr;
    }
    // The sizes are known to be sound now.
    for (size_t i = 0; i < sizes.size(); ++i) {
      call->inputs.push_back(HostTensor::View(found->inputs[i].info.dtype, sizes[i], nullptr));
    }
    call->call = *std::move(prepared);
    return call.release();
  });
}

void weft_call_free(WeftCall* call) { delete call; }

int weft_call_feed(WeftCall* call, int32_t index, const void* data) {
  return Barrier<int>(WEFT_STATUS_OK, [&] {
    if (call == nullptr) return Fail(Missing("a call"));
    absl::Status status = CheckIndex(index, call->call->num_inputs(), "an input");
    if (!status.ok()) return Fail(status);
    HostTensor& input = call->inputs[static_cast<size_t>(index)];
    if (data == nullptr && input.size_bytes() > 0) return Fail(Missing("elements"));
    input.PointTo(data);
    return Result(call->call->Feed(index, input));
  });
}

int weft_call_run(WeftCall* call, const WeftRunOptions* options) {
  return Barrier<int>(WEFT_STATUS_OK, [&] {
    if (call == nullptr) return Fail(Missing("a call"));
    weft::RunOptions run;
    const double timeout = Get(options, &WeftRunOptions::timeout_seconds, 0.0);
    if (std::isnan(timeout)) {
      return Fail(absl::InvalidArgumentError("expected a timeout in seconds, got NaN"));
    }
    if (timeout != 0) run.deadline = absl::Now() + absl::Seconds(timeout);
    static_assert(sizeof(std::atomic<bool>) == 1);
    run.cancel = reinterpret_cast<const std::atomic<bool>*>(const_cast<const uint8_t*>(
        Get(options, &WeftRunOptions::cancel, static_cast<const volatile uint8_t*>(nullptr))));
    return Result(call->call->Run(run));
  });
}

int weft_call_output(WeftCall* call, int32_t index, WeftTensor* output) {
  return Barrier<int>(WEFT_STATUS_OK, [&] {
    if (call == nullptr || output == nullptr) {
      return Fail(Missing(call == nullptr ? "a call" : "a place for the output"));
    }
    absl::Status status = CheckIndex(index, call->call->num_outputs(), "an output");
    if (!status.ok()) return Fail(status);
    const HostTensor& tensor = call->call->Output(index);
    *output = {static_cast<int32_t>(tensor.dtype()), static_cast<int32_t>(tensor.rank()),
               tensor.shape().data(), const_cast<void*>(tensor.data()), tensor.size_bytes()};
    return static_cast<int>(WEFT_STATUS_OK);
  });
}

int64_t weft_call_peak_bytes(const WeftCall* call) {
  return Barrier<int64_t>(-1, [&]() -> int64_t {
    if (call != nullptr) return call->call->peak_bytes();
    Fail(Missing("a call"));
    return -1;
  });
}

int weft_session_get_variable(WeftSession* session, const char* name, void* data, size_t bytes) {
  return Barrier<int>(WEFT_STATUS_OK, [&] {
    if (session == nullptr || name == nullptr) {
      return Fail(Missing(session == nullptr ? "a session" : "the name of a variable"));
    }
    absl::StatusOr<HostTensor> value = session->session->GetVariable(name);
    if (!value.ok()) return Fail(value.status());
    if (value->size_bytes() != bytes) {
      return Fail(absl::InvalidArgumentError(absl::StrCat(
          "variable '", name, "': expected ", value->size_bytes(), " bytes, got ", bytes)));
    }
    if (bytes > 0 && data == nullptr) return Fail(Missing("a place for the elements"));
    if (bytes > 0) memcpy(data, value->data(), bytes);
    return static_cast<int>(WEFT_STATUS_OK);
  });
}

int weft_session_set_variable(WeftSession* session, const char* name, int32_t dtype, int32_t rank,
                              const int64_t* shape, const void* data) {
  return Barrier<int>(WEFT_STATUS_OK, [&] {
    if (session == nullptr || name == nullptr) {
      return Fail(Missing(session == nullptr ? "a session" : "the name of a variable"));
    }
    if (!weft::IsDataType(dtype) || rank < 0) {
      return Fail(absl::InvalidArgumentError(
          absl::StrCat("expected a WeftDType and a rank, got ", dtype, " and ", rank)));
    }
    if (rank > 0 && shape == nullptr) return Fail(Missing("a shape"));
    const std::vector<int64_t> sizes(shape, shape + rank);
    const absl::StatusOr<int64_t> elements = weft::CheckedNumElements(sizes);
    if (!elements.ok()) return Fail(elements.status());
    if (*elements > 0 && data == nullptr) return Fail(Missing("elements"));
    return Result(session->session->SetVariables(
        {{name, HostTensor::View(static_cast<DataType>(dtype), sizes, data)}}));
  });
}

int weft_session_save_checkpoint(WeftSession* session, const char* path) {
  return Barrier<int>(WEFT_STATUS_OK, [&] {
    if (session == nullptr || path == nullptr) {
      return Fail(Missing(session == nullptr ? "a session" : "a path"));
    }
    return Result(session->session->SaveCheckpoint(path));
  });
}

int weft_session_restore_checkpoint(WeftSession* session, const char* path) {
  return Barrier<int>(WEFT_STATUS_OK, [&] {
    if (session == nullptr || path == nullptr) {
      return Fail(Missing(session == nullptr ? "a session" : "a path"));
    }
    return Result(session->session->RestoreCheckpoint(path).status());
  });
}

}  // extern "C"
