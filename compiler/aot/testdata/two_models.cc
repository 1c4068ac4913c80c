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
  test_destroy(first);
  other_destroy(second);
  std::printf("both are right\n");
}
