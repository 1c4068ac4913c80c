/* Trains the classifier of aot_test.cc to tell a disk in the plane from what lies around it,
 * without a compiler and without Python. */
#include <stdio.h>
#include <stdlib.h>

#include "circle.h"

enum { POINTS = 1000, BATCH = 100, EPOCHS = 30 };

#define CHECK(condition)                                         \
  do {                                                           \
    if (!(condition)) {                                          \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, \
              model ? circle_error(model) : "");                 \
      return 1;                                                  \
    }                                                            \
  } while (0)

int main(void) {
  static float points[POINTS][2], probabilities[POINTS][2], one[2];
  static int32_t labels[POINTS];
  uint32_t random = 1;
  for (int i = 0; i < POINTS; ++i) {
    for (int j = 0; j < 2; ++j) {
      random = random * 1664525u + 1013904223u;
      points[i][j] = (float)(random >> 8) / (float)(1 << 23) - 1;
    }
    labels[i] = points[i][0] * points[i][0] + points[i][1] * points[i][1] < 0.5f;
  }
  circle_model* model = circle_create(2);
  CHECK(model != NULL);
  CHECK(circle_predict(model, 1, points[0], one) == CIRCLE_UNDEFINED_VARIABLE);
  CHECK(circle_init(model) == CIRCLE_OK);
  float first = 0, last = 0, accuracy = 0;
  CHECK(circle_eval_step(model, POINTS, points[0], labels, &first, &accuracy) == CIRCLE_OK);
  for (int epoch = 0; epoch < EPOCHS; ++epoch) {
    for (int i = 0; i < POINTS; i += BATCH) {
      CHECK(circle_train_step(model, BATCH, points[i], labels + i, NULL) == CIRCLE_OK);
    }
    float loss;
    CHECK(circle_eval_step(model, POINTS, points[0], labels, &loss, &accuracy) == CIRCLE_OK);
    if (epoch % 10 == 9) {
      CHECK(loss < (epoch == 9 ? first : last));
      last = loss;
    }
  }
  CHECK(last < 0.5f * first);
  CHECK(accuracy > 0.9f);
  CHECK(circle_predict(model, POINTS, points[0], probabilities[0]) == CIRCLE_OK);
  for (int i = 0; i < POINTS; i += 97) {
    /* Rows are independent, so a batch of one gives the same bits. */
    CHECK(circle_predict(model, 1, points[i], one) == CIRCLE_OK);
    CHECK(one[0] == probabilities[i][0] && one[1] == probabilities[i][1]);
  }
  circle_destroy(model);
  printf("trained\n");
  return 0;
}
