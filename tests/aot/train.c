/* Trains the model of aot_test.cc to tell a disk in the plane from what lies around it, without a
 * compiler and without Python, and writes what it knows. Arguments: a checkpoint to write, and a
 * file for the scores of all points, followed by the points. */
#include <stdio.h>
#include <stdlib.h>

#include "disk.h"

enum { POINTS = 1000, BATCH = 100, EPOCHS = 40 };

#define CHECK(condition)                                          \
  do {                                                            \
    if (!(condition)) {                                           \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition,  \
              model != NULL ? disk_error(model) : "no instance"); \
      return 1;                                                   \
    }                                                             \
  } while (0)

static float points[POINTS][3], targets[POINTS], scores[POINTS], errors[POINTS];

static void MakePoints(void) {
  uint32_t random = 1;
  for (int i = 0; i < POINTS; ++i) {
    for (int j = 0; j < 2; ++j) {
      random = random * 1664525u + 1013904223u;
      points[i][j] = (float)(random >> 8) / (float)(1 << 23) - 1;
    }
    points[i][2] = 1;
    targets[i] = points[i][0] * points[i][0] + points[i][1] * points[i][1] < 0.6f ? 1 : -1;
  }
}

static float Sum(const float* values) {
  float sum = 0;
  for (int i = 0; i < POINTS; ++i) sum += values[i];
  return sum;
}

int main(int argc, char** argv) {
  MakePoints();
  disk_model* model = disk_create(2);
  CHECK(model != NULL && argc == 3);
  CHECK(disk_predict(model, 1, points[0], scores) == DISK_UNDEFINED_VARIABLE);
  CHECK(disk_init(model) == DISK_OK);
  CHECK(disk_eval_step(model, POINTS, points[0], targets, errors) == DISK_OK);
  const float first = Sum(errors);
  float last = first;
  for (int epoch = 0; epoch < EPOCHS; ++epoch) {
    for (int i = 0; i < POINTS; i += BATCH) {
      CHECK(disk_train_step(model, BATCH, points[i], targets + i, NULL) == DISK_OK);
    }
    if (epoch % 10 != 9) continue;
    CHECK(disk_eval_step(model, POINTS, points[0], targets, errors) == DISK_OK);
    CHECK(Sum(errors) < last);
    last = Sum(errors);
  }
  CHECK(last < 0.5f * first);
  CHECK(disk_predict(model, POINTS, points[0], scores) == DISK_OK);
  int right = 0;
  for (int i = 0; i < POINTS; ++i) right += (scores[i] > 0) == (targets[i] > 0);
  CHECK(right > POINTS * 9 / 10);

  CHECK(disk_save_variables(model, argv[1]) == DISK_OK);
  FILE* file = fopen(argv[2], "wb");
  CHECK(file != NULL);
  CHECK(fwrite(scores, 1, sizeof(scores), file) == sizeof(scores));
  CHECK(fwrite(points, 1, sizeof(points), file) == sizeof(points));
  CHECK(fclose(file) == 0);
  disk_destroy(model);
  printf("trained\n");
  return 0;
}
