// Two objects of Weft in one C++ program.
#include <cstdio>

#include "other.h"
#include "test.h"

int main() {
  test_model* first = test_create(2);
  other_model* second = other_create(2);
  float x[4] = {1, 2, 3, 4}, y[4], z[4];
  if (test_predict(first, 1, x, y) != TEST_OK || other_predict(second, 1, y, z) != OTHER_OK) {
    return 1;
  }
  for (int i = 0; i < 4; ++i) {
    if (z[i] != 2 * (2 * x[i] + 0.5f) + 0.5f) return 2;
  }
  // Limits are an instance's own.
  const volatile uint8_t cancelled = 1;
  if (test_set_limits(first, 60.0, &cancelled) != TEST_OK) return 3;
  if (test_predict(first, 1, x, y) != TEST_CANCELLED) return 4;
  if (other_set_limits(second, 1e-12, nullptr) != OTHER_OK) return 5;
  if (other_predict(second, 1, y, z) != OTHER_DEADLINE_EXCEEDED) return 6;
  if (test_set_limits(first, 60.0, nullptr) != TEST_OK) return 7;
  if (test_predict(first, 1, x, y) != TEST_OK) return 8;
  test_destroy(first);
  other_destroy(second);
  std::printf("both are right\n");
}
