/* Calls a model that was compiled ahead of time, by the functions of its generated header:
 *
 *   weft compile digits.weft --freeze ... --emit shared -o libdigits.so
 *   clang-22 -I. digits_from_c.c libdigits.so -Wl,-rpath,. -o digits_from_c
 *   digits_from_c X.npy CLASS.npy PROBABILITIES.npy
 *
 * says whether it gives, bit for bit, what the last two files hold for the images in the first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libdigits.h"

/* The elements of a .npy file, and their bytes: ten bytes, of which the last two are the length of
 * a header in text, the header, and the elements. Freed by the caller; NULL where it cannot be
 * read. */
static void* ReadNpy(const char* path, const char* type, size_t* bytes) {
  FILE* file = fopen(path, "rb");
  unsigned char start[10];
  char header[65536];
  void* elements = NULL;
  if (file != NULL && fread(start, 1, 10, file) == 10 && memcmp(start, "\x93NUMPY\x01", 7) == 0) {
    const size_t length = start[8] + 256 * (size_t)start[9];
    const size_t read = fread(header, 1, length, file);
    header[read] = '\0';
    const long begin = ftell(file);
    if (strstr(header, type) != NULL && fseek(file, 0, SEEK_END) == 0) {
      *bytes = (size_t)(ftell(file) - begin);
      fseek(file, begin, SEEK_SET);
      elements = aligned_alloc(64, (*bytes + 64) / 64 * 64);
      if (elements != NULL && fread(elements, 1, *bytes, file) != *bytes) {
        free(elements);
        elements = NULL;
      }
    }
  }
  if (elements == NULL) {
    fprintf(stderr, "digits_from_c: %s: expected a .npy file of type %s\n", path, type);
  }
  if (file != NULL) fclose(file);
  return elements;
}

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: digits_from_c X.npy CLASS.npy PROBABILITIES.npy\n");
    return 2;
  }
  size_t x_bytes = 0, class_bytes = 0, probability_bytes = 0;
  uint8_t* x = ReadNpy(argv[1], "|u1", &x_bytes);
  int64_t* expected_classes = ReadNpy(argv[2], "<i8", &class_bytes);
  float* expected = ReadNpy(argv[3], "<f4", &probability_bytes);
  const int64_t batch = (int64_t)(x_bytes / 64);
  int code = 1;
  if (x == NULL || expected_classes == NULL || expected == NULL) {
  } else if (class_bytes != (size_t)batch * 8 || probability_bytes != (size_t)batch * 40) {
    fprintf(stderr, "digits_from_c: the files are of different numbers of images\n");
  } else {
    digits_model* model = digits_create(/*threads=*/0);
    int64_t* classes = aligned_alloc(64, (class_bytes + 64) / 64 * 64);
    float* probabilities = aligned_alloc(64, (probability_bytes + 64) / 64 * 64);
    if (model == NULL || classes == NULL || probabilities == NULL) {
      const char* why = digits_unsupported();
      fprintf(stderr, "digits_from_c: %s\n", why != NULL ? why : "memory is short");
    } else if (digits_predict(model, batch, x, classes, probabilities) != DIGITS_OK) {
      fprintf(stderr, "digits_from_c: %s\n", digits_error(model));
    } else if (memcmp(classes, expected_classes, class_bytes) != 0 ||
               memcmp(probabilities, expected, probability_bytes) != 0) {
      fprintf(stderr, "digits_from_c: the shared library says something else\n");
    } else {
      printf("the shared library, called from C for %s, agrees bit for bit on %lld images\n",
             digits_target(model), (long long)batch);
      code = 0;
    }
    free(classes);
    free(probabilities);
    if (model != NULL) digits_destroy(model);
  }
  free(x);
  free(expected_classes);
  free(expected);
  return code;
}
