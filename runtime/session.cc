#include "runtime/session.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/feed.h"
#include "proto/plan.pb.h"
#include "proto/suggest.h"
#include "runtime/call.h"
#include "runtime/call_cache.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/limits.h"
#include "runtime/package.h"
#include "runtime/package_cache.h"

namespace weft {
namespace {

// Sets a key that differs where the signature, or dtypes or shapes of its feeds do. False where
// feeds and inputs do not match.
bool SetCallKey(const PackageSignature& signature, const NamedTensors& feeds, std::string* key) {
  if (feeds.size() != static_cast<size_t>(signature.inputs_size())) return false;
  const auto append = [&](int64_t number) {
    key->append(reinterpret_cast<const char*>(&number), sizeof(number));
  };
  key->assign(signature.name());
  key->push_back('\0');
  for (const PackageValue& input : signature.inputs()) {
    const auto feed = feeds.find(input.name());
    if (feed == feeds.end()) return false;
    append(static_cast<int64_t>(feed->second.dtype()));
    append(feed->second.rank());
    for (const int64_t size : feed->second.shape()) append(size);
  }
  return true;
}

// What is wrong with the feeds of a signature, by its declaration.
absl::Status CheckFeeds(const PackageSignature& signature, const NamedTensors& feeds) {
  std::vector<std::string> names;
  for (const PackageValue& input : signature.inputs()) {
    names.push_back(input.name());
    const auto feed = feeds.find(input.name());
    if (feed == feeds.end()) {
      std::vector<std::string> fed;
      for (const auto& [name, tensor] : feeds) fed.push_back(name);
      return absl::InvalidArgumentError(absl::StrCat(
          "signature '", signature.name(), "' needs input '", input.name(), "', which was not fed",
          fed.empty() ? "" : "; fed: ", absl::StrJoin(fed, ", ")));
    }
    const FeedType type = {absl::StrCat("input '", input.name(), "' of '", signature.name(), "'"),
                           static_cast<DataType>(input.dtype()),
                           {input.shape().begin(), input.shape().end()}};
    absl::Status fits = CheckFeed(type, feed->second.dtype(), feed->second.shape());
    if (!fits.ok()) return fits;
  }
  for (const auto& [name, tensor] : feeds) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "signature '", signature.name(), "' has no input '", name, "'", Suggestion(name, names)));
  }
  return absl::OkStatus();
}

std::string RequestKey(const PlanRequest& request) { return request.SerializeAsString(); }

void SetShapes(const Shapes& shapes, PlanRequest* request) {
  for (const std::vector<int64_t>& shape : shapes) {
    FeedShape* feed = request->add_shapes();
    feed->mutable_dims()->Assign(shape.begin(), shape.end());
  }
}

// `names` without repetitions, in the order of their first appearance.
std::vector<std::string> Unique(const std::vector<std::string>& names) {
  std::vector<std::string> unique;
  for (const std::string& name : names) {
    if (std::find(unique.begin(), unique.end(), name) == unique.end()) unique.push_back(name);
  }
  return unique;
}

class SessionImpl final : public Session {
 public:
  SessionImpl(std::shared_ptr<SessionState> state, std::shared_ptr<const Package> package,
              Planner planner)
      : state_(std::move(state)),
        package_(std::move(package)),
        planner_(std::move(planner)),
        packages_(static_cast<size_t>(std::max(1, state_->options.max_cached_plans))),
        calls_(static_cast<size_t>(std::max(1, state_->options.max_cached_plans)),
               state_->options.max_cached_bytes) {}

  static absl::StatusOr<std::unique_ptr<Session>> Create(std::shared_ptr<const Package> package,
                                                         Planner planner,
                                                         const SessionOptions& options,
                                                         std::shared_ptr<SessionDevices> devices) {
    auto state = std::make_shared<SessionState>(options, std::move(devices));
    if (absl::Status status = state->variables.Declare(*package); !status.ok()) return status;
    return std::make_unique<SessionImpl>(std::move(state), std::move(package), std::move(planner));
  }

  absl::StatusOr<NamedTensors> Run(const std::string& signature, const NamedTensors& feeds,
                                   const RunOptions& options) override {
    NamedTensors outputs;
    absl::Status status = RunInto(signature, feeds, &outputs, options);
    if (!status.ok()) return status;
    return outputs;
  }
  absl::Status RunInto(const std::string& signature, const NamedTensors& feeds,
                       NamedTensors* outputs, const RunOptions& options) override;
  absl::StatusOr<std::vector<HostTensor>> Run(const NamedTensors& feeds,
                                              const std::vector<std::string>& fetches,
                                              const std::vector<std::string>& targets,
                                              const RunOptions& options) override;
  absl::StatusOr<std::unique_ptr<Call>> Prepare(const std::string& signature,
                                                const Shapes& shapes) override {
    absl::StatusOr<std::unique_ptr<PreparedCall>> call = PrepareCall(signature, shapes, {});
    if (!call.ok()) return call.status();
    if (absl::Status status = (*call)->AllocateOutputs(); !status.ok()) return status;
    return call;
  }
  std::vector<SignatureInfo> Signatures() const override;

  absl::StatusOr<NamedTensors> GetVariables() override { return state_->variables.Get(); }
  absl::StatusOr<HostTensor> GetVariable(const std::string& name) override {
    return state_->variables.GetOne(name);
  }
  absl::Status SetVariables(const NamedTensors& values) override {
    return state_->variables.Set(values);
  }
  absl::Status SaveCheckpoint(const std::string& path,
                              const std::map<std::string, std::string>& metadata) override {
    return state_->variables.Save(path, metadata);
  }
  absl::StatusOr<std::map<std::string, std::string>> RestoreCheckpoint(
      const std::string& path) override {
    return state_->variables.Restore(path);
  }

  void EnableProfiling(bool on) override;
  std::vector<StepProfile> Profile() const override;

 private:
  absl::StatusOr<const PackageSignature*> FindSignature(const std::string& name) const;
  absl::StatusOr<std::unique_ptr<PreparedCall>> PrepareCall(const std::string& signature,
                                                            const Shapes& shapes,
                                                            const RunLimits& limits);
  // Calls that wait for their next use make room where memory is short.
  absl::StatusOr<std::unique_ptr<PreparedCall>> CreateCall(std::shared_ptr<const Package> package,
                                                           const LoadedPlan& plan,
                                                           const Shapes& shapes,
                                                           const RunLimits& limits);
  // The plan of `package` for a signature that takes these shapes.
  static absl::StatusOr<const LoadedPlan*> PickPlan(const Package& package,
                                                    const std::string& signature,
                                                    const Shapes& shapes);
  absl::StatusOr<std::shared_ptr<const Package>> Compile(PlanRequest request,
                                                         const RunLimits& limits);
  // Feeds a call by name, runs it, and puts it back. See Session::RunInto.
  absl::Status FeedAndRun(CallCache::Node node, const NamedTensors& feeds, NamedTensors* outputs,
                          const RunLimits& limits);
  std::vector<std::shared_ptr<const Package>> AllPackages() const;
  // A call that is ready for use, or an empty node.
  CallCache::Node TakeCall(std::string_view key) {
    CallCache::Node node = calls_.Take(key);
    if (!node.empty()) packages_.Touch(&node.front().call->package());
    return node;
  }

  const std::shared_ptr<SessionState> state_;
  // The package run, or, with a planner, one without plans that tells signatures and variables.
  const std::shared_ptr<const Package> package_;
  const Planner planner_;
  PackageCache packages_;
  CallCache calls_;
};

absl::StatusOr<const PackageSignature*> SessionImpl::FindSignature(const std::string& name) const {
  for (const PackageSignature& signature : package_->manifest().signatures()) {
    if (signature.name() == name) return &signature;
  }
  std::vector<std::string> names;
  for (const PackageSignature& signature : package_->manifest().signatures()) {
    names.push_back(signature.name());
  }
  return absl::NotFoundError(
      absl::StrCat("there is no signature '", name, "'", Suggestion(name, names)));
}

absl::StatusOr<const LoadedPlan*> SessionImpl::PickPlan(const Package& package,
                                                        const std::string& signature,
                                                        const Shapes& shapes) {
  absl::Status status = absl::NotFoundError(absl::StrCat(
      "the package has no plan for signature '", signature, "'; it was compiled without it"));
  for (const LoadedPlan& plan : package.plans()) {
    if (plan.signature != signature) continue;
    // The last one is the general plan: its complaint is the one to show.
    status = CheckShapes(*plan.tables, shapes);
    if (status.ok()) return &plan;
  }
  return status;
}

absl::StatusOr<std::shared_ptr<const Package>> SessionImpl::Compile(PlanRequest request,
                                                                    const RunLimits& limits) {
  const std::string key = RequestKey(request);
  // May outlive this call, but not the cache, and so not the session.
  const auto make =
      [this, request = std::move(request)]() -> absl::StatusOr<std::shared_ptr<const Package>> {
    absl::StatusOr<std::string> bytes = planner_(request);
    if (!bytes.ok()) return bytes.status();
    absl::StatusOr<std::shared_ptr<const Package>> package =
        Package::Open(Bytes::Of(*bytes, "(compiled)"), state_->devices);
    if (!package.ok()) return package.status();
    absl::Status status = state_->variables.Declare(**package);
    if (!status.ok()) return status;
    return package;
  };
  return packages_.Get(key, make, limits);
}

absl::StatusOr<std::unique_ptr<PreparedCall>> SessionImpl::PrepareCall(const std::string& signature,
                                                                       const Shapes& shapes,
                                                                       const RunLimits& limits) {
  absl::StatusOr<const PackageSignature*> found = FindSignature(signature);
  if (!found.ok()) return found.status();
  std::shared_ptr<const Package> package = package_;
  if (planner_ != nullptr) {
    if (shapes.size() != static_cast<size_t>((*found)->inputs_size())) {
      return absl::InvalidArgumentError(absl::StrCat("signature '", signature, "': expected ",
                                                     (*found)->inputs_size(), " shapes, got ",
                                                     shapes.size()));
    }
    for (const std::vector<int64_t>& shape : shapes) {
      if (absl::StatusOr<int64_t> elements = CheckedNumElements(shape); !elements.ok()) {
        return elements.status();
      }
    }
    PlanRequest request;
    request.set_signature(signature);
    SetShapes(shapes, &request);
    absl::StatusOr<std::shared_ptr<const Package>> compiled = Compile(std::move(request), limits);
    if (!compiled.ok()) return compiled.status();
    package = *std::move(compiled);
  }
  absl::StatusOr<const LoadedPlan*> plan = PickPlan(*package, signature, shapes);
  if (!plan.ok()) return plan.status();
  return CreateCall(std::move(package), **plan, shapes, limits);
}

absl::StatusOr<std::unique_ptr<PreparedCall>> SessionImpl::CreateCall(
    std::shared_ptr<const Package> package, const LoadedPlan& plan, const Shapes& shapes,
    const RunLimits& limits) {
  absl::StatusOr<std::unique_ptr<PreparedCall>> call =
      PreparedCall::Create(state_, std::move(package), plan, shapes);
  if (!call.ok()) return call.status();
  for (;;) {
    absl::Status status = (*call)->Allocate(limits);
    if (status.ok()) return call;
    if (!absl::IsResourceExhausted(status) || !calls_.DropOldest()) return status;
  }
}

absl::Status SessionImpl::FeedAndRun(CallCache::Node node, const NamedTensors& feeds,
                                     NamedTensors* outputs, const RunLimits& limits) {
  PreparedCall& call = *node.front().call;
  // Fed first: `feeds` may be `*outputs`, whose tensors are lent to the call next.
  absl::Status status;
  for (int i = 0; status.ok() && i < call.num_inputs(); ++i) {
    const auto feed = feeds.find(call.input_name(i));
    status = feed != feeds.end()
                 ? call.Feed(i, feed->second)
                 : absl::InvalidArgumentError(
                       absl::StrCat("input '", call.input_name(i), "' is needed and was not fed"));
  }
  for (int i = 0; status.ok() && i < call.num_outputs(); ++i) {
    const auto output = outputs->find(call.output_name(i));
    if (output != outputs->end()) call.LendOutput(i, &output->second);
  }
  if (status.ok()) status = call.Run(limits);
  for (int i = 0; i < call.num_outputs(); ++i) {
    auto output = outputs->find(call.output_name(i));
    if (output == outputs->end()) {
      if (!status.ok()) continue;
      output = outputs->try_emplace(call.output_name(i)).first;
    }
    call.ReturnOutput(i, status.ok(), &output->second);
  }
  call.DropTensors();
  calls_.Put(std::move(node));
  return status;
}

absl::Status SessionImpl::RunInto(const std::string& signature, const NamedTensors& feeds,
                                  NamedTensors* outputs, const RunOptions& options) {
  const RunLimits limits(options);
  absl::StatusOr<const PackageSignature*> found = FindSignature(signature);
  if (!found.ok()) return found.status();
  // Keeps its memory, so that later runs allocate none.
  thread_local std::string key;
  CallCache::Node node;
  const bool has_key = SetCallKey(**found, feeds, &key);
  if (has_key) node = TakeCall(key);
  if (node.empty()) {
    if (absl::Status status = CheckFeeds(**found, feeds); !status.ok()) return status;
    if (!has_key) {
      return absl::InvalidArgumentError(
          absl::StrCat("signature '", signature, "' declares an input twice"));
    }
    // A planner may run a session on this thread.
    const std::string key_of_call = key;
    Shapes shapes;
    for (const PackageValue& input : (*found)->inputs()) {
      shapes.push_back(feeds.at(input.name()).shape());
    }
    absl::StatusOr<std::unique_ptr<PreparedCall>> call = PrepareCall(signature, shapes, limits);
    if (!call.ok()) return call.status();
    node.push_back({key_of_call, *std::move(call)});
  }
  return FeedAndRun(std::move(node), feeds, outputs, limits);
}

absl::StatusOr<std::vector<HostTensor>> SessionImpl::Run(const NamedTensors& feeds,
                                                         const std::vector<std::string>& fetches,
                                                         const std::vector<std::string>& targets,
                                                         const RunOptions& options) {
  const RunLimits limits(options);
  if (planner_ == nullptr) {
    return absl::FailedPreconditionError(
        "a package runs signatures only; to fetch any node, make the session from the graph");
  }
  if (fetches.empty() && targets.empty()) {
    return absl::InvalidArgumentError("expected something to fetch or to run, got nothing");
  }
  const std::vector<std::string> unique = Unique(fetches);
  PlanRequest request;
  Shapes feed_shapes;
  for (const auto& [name, tensor] : feeds) {
    request.add_feeds(name);
    feed_shapes.push_back(tensor.shape());
  }
  SetShapes(feed_shapes, &request);
  for (const std::string& fetch : unique) request.add_fetches(fetch);
  for (const std::string& target : targets) request.add_targets(target);
  const std::string key = std::string(1, '\0') + RequestKey(request);
  absl::StatusOr<std::shared_ptr<const Package>> package = Compile(std::move(request), limits);
  if (!package.ok()) return package.status();
  if ((*package)->plans().size() != 1) {
    return absl::InternalError(
        absl::StrCat("expected one plan from the compiler, got ", (*package)->plans().size()));
  }
  const LoadedPlan& plan = (*package)->plans()[0];
  const WeftPlan& tables = plan.tables->plan();
  if (tables.num_outputs != unique.size()) {
    return absl::InternalError(absl::StrCat(
        "expected ", unique.size(), " outputs from the compiler, got ", tables.num_outputs));
  }
  // What is fed beyond what the fetches need was pruned.
  Shapes shapes;
  for (uint32_t i = 0; i < tables.num_inputs; ++i) {
    const auto feed = feeds.find(tables.inputs[i].name);
    if (feed == feeds.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("input '", tables.inputs[i].name, "' is needed and was not fed"));
    }
    shapes.push_back(feed->second.shape());
  }
  CallCache::Node node = TakeCall(key);
  if (node.empty()) {
    absl::StatusOr<std::unique_ptr<PreparedCall>> call = CreateCall(*package, plan, shapes, limits);
    if (!call.ok()) return call.status();
    node.push_back({key, *std::move(call)});
  }
  NamedTensors outputs;
  absl::Status status = FeedAndRun(std::move(node), feeds, &outputs, limits);
  if (!status.ok()) return status;
  std::vector<HostTensor> results;
  for (const std::string& fetch : fetches) {
    const auto place = std::find(unique.begin(), unique.end(), fetch) - unique.begin();
    results.push_back(outputs.at(tables.outputs[place].name));
  }
  return results;
}

std::vector<Session::SignatureInfo> SessionImpl::Signatures() const {
  std::vector<SignatureInfo> signatures;
  const auto value_info = [](const PackageValue& value) {
    return ValueInfo{value.name(),
                     static_cast<DataType>(value.dtype()),
                     {value.shape().begin(), value.shape().end()}};
  };
  for (const PackageSignature& signature : package_->manifest().signatures()) {
    SignatureInfo info;
    info.name = signature.name();
    for (const PackageValue& input : signature.inputs()) info.inputs.push_back(value_info(input));
    for (const PackageValue& output : signature.outputs()) {
      info.outputs.push_back(value_info(output));
    }
    signatures.push_back(std::move(info));
  }
  return signatures;
}

std::vector<std::shared_ptr<const Package>> SessionImpl::AllPackages() const {
  std::vector<std::shared_ptr<const Package>> packages = packages_.All();
  packages.insert(packages.begin(), package_);
  return packages;
}

void SessionImpl::EnableProfiling(bool on) {
  const bool was_on = state_->profiling.exchange(on);
  if (!on || was_on) return;
  for (const std::shared_ptr<const Package>& package : AllPackages()) {
    for (const LoadedPlan& plan : package->plans()) {
      for (uint32_t i = 0; i < plan.tables->plan().num_steps; ++i) {
        WeftStepProfile& sums = plan.profile[i];
        for (uint64_t* sum : {&sums.runs, &sums.nanoseconds, &sums.bytes, &sums.flops}) {
          __atomic_store_n(sum, uint64_t{0}, __ATOMIC_RELAXED);
        }
      }
    }
  }
}

std::vector<StepProfile> SessionImpl::Profile() const {
  std::vector<StepProfile> profiles;
  for (const std::shared_ptr<const Package>& package : AllPackages()) {
    for (const LoadedPlan& plan : package->plans()) {
      for (uint32_t i = 0; i < plan.tables->plan().num_steps; ++i) {
        const WeftStepProfile& sums = plan.profile[i];
        const uint64_t runs = __atomic_load_n(&sums.runs, __ATOMIC_RELAXED);
        if (runs == 0) continue;
        const auto mean = [&](const uint64_t& sum) {
          return static_cast<double>(__atomic_load_n(&sum, __ATOMIC_RELAXED)) /
                 static_cast<double>(runs);
        };
        const WeftStep& step = plan.tables->plan().steps[i];
        StepProfile profile;
        profile.signature = plan.signature;
        profile.label = step.label;
        profile.node = step.nodes;
        profile.location = step.location;
        profile.way = plan.ways->Get(i);
        profile.runs = static_cast<int64_t>(runs);
        profile.seconds = mean(sums.nanoseconds) * static_cast<double>(runs) * 1e-9;
        profile.bytes = mean(sums.bytes);
        profile.flops = mean(sums.flops);
        profiles.push_back(std::move(profile));
      }
    }
  }
  return profiles;
}

absl::StatusOr<std::unique_ptr<Session>> FromBytes(std::shared_ptr<const Bytes> bytes,
                                                   Session::Planner planner,
                                                   const SessionOptions& options) {
  std::shared_ptr<Device> device = options.device;
  if (device == nullptr) {
    absl::StatusOr<std::shared_ptr<Device>> cpu = MakeCpuDevice(options.threads);
    if (!cpu.ok()) return cpu.status();
    device = *std::move(cpu);
  }
  auto devices =
      std::make_shared<SessionDevices>(std::move(device), options.find_device, options.threads);
  absl::StatusOr<std::shared_ptr<const Package>> package = Package::Open(std::move(bytes), devices);
  if (!package.ok()) return package.status();
  return SessionImpl::Create(*std::move(package), std::move(planner), options, std::move(devices));
}

}  // namespace

absl::Status Session::RunInto(const std::string& signature, const NamedTensors& feeds,
                              NamedTensors* outputs, const RunOptions& options) {
  absl::StatusOr<NamedTensors> results = Run(signature, feeds, options);
  if (!results.ok()) return results.status();
  for (auto& [name, tensor] : *results) (*outputs)[name] = std::move(tensor);
  return absl::OkStatus();
}

absl::StatusOr<HostTensor> Session::GetVariable(const std::string& name) {
  absl::StatusOr<NamedTensors> values = GetVariables();
  if (!values.ok()) return values.status();
  const auto found = values->find(name);
  if (found != values->end()) return found->second;
  return absl::NotFoundError(absl::StrCat("there is no variable '", name, "'"));
}

absl::StatusOr<std::unique_ptr<Session>> Session::Load(const std::string& path,
                                                       const SessionOptions& options) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return bytes.status();
  return FromBytes(*std::move(bytes), nullptr, options);
}

absl::StatusOr<std::unique_ptr<Session>> Session::FromPackage(std::string_view bytes,
                                                              const SessionOptions& options) {
  return FromBytes(Bytes::Of(bytes), nullptr, options);
}

absl::StatusOr<std::unique_ptr<Session>> Session::WithPlanner(Planner planner,
                                                              const SessionOptions& options) {
  // An empty request: signatures and variables alone.
  absl::StatusOr<std::string> bytes = planner(PlanRequest());
  if (!bytes.ok()) return bytes.status();
  return FromBytes(Bytes::Of(*bytes, "(graph)"), std::move(planner), options);
}

}  // namespace weft
