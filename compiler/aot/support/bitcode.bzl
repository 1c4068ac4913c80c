"""C++ as LLVM bitcode, for the compiler to link into what it emits."""

# The oldest processor that an artifact starts on: which code it then runs, it picks itself. Nothing that needs a run-time library other than libc.
_FLAGS = [
    "-std=c++20",
    "-O2",
    "-DNDEBUG",
    "-march=x86-64",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-U_FORTIFY_SOURCE",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-parameter",
]

def bitcode(name, srcs, **kwargs):
    """One bitcode file of C++ sources, the same in every build configuration: sanitizers are for programs of ours.

    Args:
      name: the file is name.bc.
      srcs: sources, and the headers they include from this tree.
      **kwargs: visibility and the like.
    """
    native.genrule(
        name = name,
        srcs = srcs,
        outs = [name + ".bc"],
        cmd = """
parts=
for source in $(SRCS); do
  case $$source in *.cc) ;; *) continue ;; esac
  part=$(RULEDIR)/{name}.$$(basename $$source).part.bc
  $(CC) {flags} -I . -emit-llvm -c $$source -o $$part
  parts="$$parts $$part"
done
$(execpath @llvm//:llvm-link) $$parts -o $@
rm $$parts
""".format(name = name, flags = " ".join(_FLAGS)),
        message = "Bitcode",
        toolchains = ["@bazel_tools//tools/cpp:current_cc_toolchain"],
        tools = ["@llvm//:llvm-link"],
        **kwargs
    )
