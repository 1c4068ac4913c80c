/* Loads the test model's shared library, whose path is the argument. */
#include <dlfcn.h>
#include <stdio.h>

#include "test.h"

int main(int argc, char** argv) {
  void* library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  __typeof__(&test_create) create = (__typeof__(&test_create))dlsym(library, "test_create");
  __typeof__(&test_predict) predict = (__typeof__(&test_predict))dlsym(library, "test_predict");
  __typeof__(&test_destroy) destroy = (__typeof__(&test_destroy))dlsym(library, "test_destroy");
  if (create == NULL || predict == NULL || destroy == NULL) return 2;
  if (dlsym(library, "weft_run") != NULL || dlsym(library, "weft_model_tables") != NULL) return 3;
  test_model* model = create(0);
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, y[8];
  if (model == NULL || predict(model, 2, x, y) != TEST_OK) return 4;
  for (int i = 0; i < 8; ++i) {
    if (y[i] != 2 * x[i] + (i < 4 ? 0.5f : 0.0f)) return 5;
  }
  destroy(model);
  dlclose(library);
  printf("shared is right\n");
  return 0;
}
