// Reads the files of values in this folder.
#ifndef WEFT_TESTS_GOLDEN_GOLDEN_FILE_H_
#define WEFT_TESTS_GOLDEN_GOLDEN_FILE_H_

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "graph/reference/elementwise.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/host_tensor.h"

namespace weft {

// {"dtype": "f32", "shape": [2], "values": [1, "nan"]}; bf16 and f16 are rounded from f64.
inline HostTensor GoldenTensor(const nlohmann::json& json) {
  const DataType dtype = *DataTypeOf(json["dtype"].get<std::string>());
  const auto shape = json["shape"].get<std::vector<int64_t>>();
  if (dtype == DataType::kI64) {  // whole numbers that double does not hold
    return HostTensor::Of<int64_t>(shape, json["values"].get<std::vector<int64_t>>());
  }
  std::vector<double> values;
  for (const nlohmann::json& value : json["values"]) {
    values.push_back(value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>());
  }
  return *reference::Cast(HostTensor::Of<double>(shape, values), dtype);
}

// `name` is a file of this folder.
inline nlohmann::json ReadGoldenFile(const std::string& name) {
  std::ifstream file("tests/golden/" + name);
  return nlohmann::json::parse(file);
}

// The values of composites.json by name.
inline HostTensor Composite(const std::string& name) {
  static const auto* file = new nlohmann::json(ReadGoldenFile("composites.json"));
  return GoldenTensor(file->at(name));
}

// Values of one type that are close: |a - e| <= tolerance * (1 + |e|).
inline void ExpectNear(const HostTensor& actual, const HostTensor& expected,
                       double tolerance = 1e-12) {
  ASSERT_EQ(actual.shape(), expected.shape());
  const HostTensor a = *reference::Cast(actual, DataType::kF64);
  const HostTensor e = *reference::Cast(expected, DataType::kF64);
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    const double x = a.values<double>()[i], y = e.values<double>()[i];
    EXPECT_NEAR(x, y, tolerance * (1 + std::abs(y))) << "element " << i;
  }
}

}  // namespace weft

#endif  // WEFT_TESTS_GOLDEN_GOLDEN_FILE_H_
