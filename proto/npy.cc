#include "proto/npy.h"

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/core/npy_format.h"
#include "proto/format_status.h"
#include "proto/zip.h"

namespace weft {
namespace {

absl::Status WithPath(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

}  // namespace

std::string WriteNpy(const HostTensor& tensor) {
  if (tensor.dtype() == DataType::kInvalid) abort();
  const std::vector<int64_t>& shape = tensor.shape();
  std::string file(MaxNpyHeaderBytes(shape.size()), '\0');
  file.resize(WriteNpyHeader(tensor.dtype(), shape.data(), shape.size(), file.data()));
  file.reserve(file.size() + tensor.size_bytes());
  file.append(static_cast<const char*>(tensor.data()), tensor.size_bytes());
  return file;
}

absl::StatusOr<HostTensor> ReadNpy(std::string_view bytes, std::shared_ptr<const void> owner) {
  NpyTensor npy;
  if (const FormatError error = ParseNpy(bytes, &npy)) return AsStatus("npy", error);
  const absl::Span<const int64_t> shape(npy.shape, npy.rank);
  const auto alignment = static_cast<uintptr_t>(SizeOf(npy.dtype));
  if (npy.InOrder() && reinterpret_cast<uintptr_t>(npy.elements.data()) % alignment == 0) {
    return HostTensor::View(npy.dtype, shape, npy.elements.data(), std::move(owner));
  }
  absl::StatusOr<HostTensor> copy = HostTensor::Create(npy.dtype, shape);
  if (copy.ok()) CopyNpyElements(npy, static_cast<char*>(copy->mutable_data()));
  return copy;
}

absl::StatusOr<std::string> WriteNpz(const std::map<std::string, HostTensor>& tensors) {
  std::vector<std::string> files;
  std::vector<ZipMemberToWrite> members;
  files.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    files.push_back(WriteNpy(tensor));
    members.push_back({name + ".npy", files.back()});
  }
  return WriteZip(members);
}

absl::StatusOr<std::map<std::string, HostTensor>> ReadNpz(std::string_view bytes,
                                                          std::shared_ptr<const void> owner,
                                                          uint64_t limit) {
  absl::StatusOr<std::vector<ZipMember>> members = ReadZip(bytes);
  if (!members.ok()) return members.status();
  // A small archive may unpack to much.
  uint64_t left = limit;
  for (const ZipMember& member : *members) {
    if (!member.deflated) continue;
    if (member.size > left) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "unpacks to more than the ", limit,
          " bytes that there is memory for; use a part of the data, or numpy.savez in place of "
          "numpy.savez_compressed"));
    }
    left -= member.size;
  }
  std::map<std::string, HostTensor> tensors;
  for (const ZipMember& member : *members) {
    std::string name = member.name;
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    const auto in_member = [&](const absl::Status& status) {
      return absl::Status(status.code(), absl::StrCat("'", name, "': ", status.message()));
    };
    std::string_view file = member.bytes;
    std::shared_ptr<const void> file_owner = owner;
    if (member.deflated) {
      absl::StatusOr<HostTensor> contents =
          HostTensor::Create(DataType::kU8, {static_cast<int64_t>(member.size)});
      if (!contents.ok()) return in_member(contents.status());
      auto* memory = static_cast<char*>(contents->mutable_data());
      if (absl::Status status = ExtractZipMember(member, memory); !status.ok()) return status;
      file = {memory, member.size};
      file_owner = std::make_shared<HostTensor>(*std::move(contents));
    } else if (absl::Status status = VerifyStoredZipMember(member); !status.ok()) {
      return status;
    }
    absl::StatusOr<HostTensor> tensor = ReadNpy(file, std::move(file_owner));
    if (!tensor.ok()) return in_member(tensor.status());
    if (!tensors.emplace(name, *std::move(tensor)).second) {
      return in_member(absl::InvalidArgumentError("npy: is in the archive twice"));
    }
  }
  return tensors;
}

absl::StatusOr<HostTensor> LoadNpy(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Load(path);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<HostTensor> tensor = ReadNpy((*bytes)->view(), *bytes);
  if (!tensor.ok()) return WithPath(path, tensor.status());
  return tensor;
}

absl::StatusOr<std::map<std::string, HostTensor>> LoadNpz(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Load(path);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<std::map<std::string, HostTensor>> tensors = ReadNpz((*bytes)->view(), *bytes);
  if (!tensors.ok()) return WithPath(path, tensors.status());
  return tensors;
}

absl::Status SaveNpy(const std::string& path, const HostTensor& tensor) {
  return WriteFileAtomically(path, WriteNpy(tensor));
}

absl::Status SaveNpz(const std::string& path, const std::map<std::string, HostTensor>& tensors) {
  absl::StatusOr<std::string> bytes = WriteNpz(tensors);
  if (!bytes.ok()) return WithPath(path, bytes.status());
  return WriteFileAtomically(path, *bytes);
}

}  // namespace weft
