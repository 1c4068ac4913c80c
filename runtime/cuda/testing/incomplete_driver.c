// A driver that lacks almost everything, as another program's library of that name would.
int cuDriverGetVersion(int* version) {
  *version = 12040;
  return 0;
}
int cuInit(unsigned flags) { return flags == 0 ? 0 : 1; }
