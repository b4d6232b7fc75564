// The stand-in driver's modules, launches and tensor maps. See driver.c.
#include "standin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PARAMETERS = 64, MAP_MARK = 0x4d4150 };
typedef enum { POINTER, TENSOR_MAP, VALUE } Parameter;
typedef struct Function {
    char name[256];
    Parameter parameters[MOST_PARAMETERS];
    int kind, parameter_count, most_threads, static_shared, dynamic_shared;
    unsigned long launches;
    struct Function *next;
} Function;

static Function *functions;

// ---- kinds, by the names that burn and cubek give their kernels

static const char *const NAMES[] = {"attention", "matmul", "convolution", "cast", "norm", "reduce", "copy", "elementwise", "fill", "other", NULL};
static const char *const KINDS[][2] = {
    {"attention", "attention"}, {"matmul", "matmul"}, {"gemm", "matmul"}, {"gemv", "matmul"}, {"vecmat", "matmul"},
    {"conv", "convolution"}, {"im2col", "convolution"}, {"cast", "cast"}, {"norm", "norm"}, {"softmax", "reduce"},
    {"reduce", "reduce"}, {"contiguous", "copy"}, {"copy", "copy"}, {"slice", "copy"}, {"cat", "copy"}, {"gather", "copy"},
    {"select", "copy"}, {"fuse", "elementwise"}, {"elemwise", "elementwise"}, {"elem_wise", "elementwise"},
    {"unary", "elementwise"}, {"binop", "elementwise"}, {"scalar", "elementwise"}, {"mask", "elementwise"}, {"full", "fill"},
    {"", "other"},
};

const char *kind_name(int kind) { return NAMES[kind]; }

static int kind_of(const char *name) {
    int row = 0, kind = 0;
    while (!strstr(name, KINDS[row][0])) row++;
    while (strcmp(NAMES[kind], KINDS[row][1])) kind++;
    return kind;
}

void report_kernels(void *file) {
    for (Function *f = functions; f; f = f->next) fprintf(file, "kernel %s %lu\n", f->name, f->launches);
}

// ---- modules: PTX, read for what a launch needs

static long number_after(const char *text, const char *end, const char *word) {
    const char *at = strstr(text, word);
    return at && at < end ? strtol(at + strlen(word), NULL, 10) : 0;
}

static void read_parameters(Function *function, const char *at, const char *end) {
    while ((at = strstr(at, ".param")) && at < end && function->parameter_count < MOST_PARAMETERS) {
        const char *stop = at + 6 + strcspn(at + 6, ",)");
        const char *size = memchr(at, '[', stop - at);
        Parameter kind = !size ? POINTER : strtol(size + 1, NULL, 10) == 128 && number_after(at, stop, ".align") >= 64 ? TENSOR_MAP : VALUE;
        function->parameters[function->parameter_count++] = kind;
        at = stop;
    }
}

// `.shared .align 16 .b8 name[1024];` before or inside the kernel; `[]` is the dynamic part.
static int shared_bytes(const char *text) {
    long sum = 0;
    for (const char *at = text; (at = strstr(at, ".shared .align")); at++) {
        const char *stop = at + strcspn(at, ";\n"), *size = memchr(at, '[', stop - at);
        if (size && *stop == ';') sum += strtol(size + 1, NULL, 10);
    }
    return (int)sum;
}

API Status cuModuleLoadData(Function **module, const char *ptx) {
    Status status = ready("cuModuleLoadData");
    if (status) return status;
    const char *entry = strstr(ptx, ".entry ");
    if (!strstr(ptx, ".version") || !entry) return refuse(INVALID_PTX, "cuModuleLoadData: no PTX with a kernel");
    Function *function = calloc(1, sizeof *function);
    sscanf(entry + 7, "%255[A-Za-z0-9_$]", function->name);
    function->kind = kind_of(function->name);
    const char *end = entry + strcspn(entry, "{");
    read_parameters(function, entry, end);
    function->most_threads = (int)number_after(entry, end, ".maxntid ");
    function->static_shared = shared_bytes(ptx);
    function->dynamic_shared = 48 << 10;
    enter();
    counts.kernels++;
    function->next = functions;
    functions = function;
    leave();
    *module = function;
    return SUCCESS;
}
API Status cuModuleUnload(Function *module) { return module ? SUCCESS : refuse(INVALID_HANDLE, "cuModuleUnload: no module"); }
API Status cuModuleGetFunction(Function **function, Function *module, const char *name) {
    *function = module;
    return strcmp(module->name, name) ? refuse(NOT_FOUND, "cuModuleGetFunction: %s is not %s", name, module->name) : SUCCESS;
}
API Status cuFuncSetAttribute(Function *function, int which, int value) {
    if (which == 8) {
        if (value + function->static_shared > attribute(97))
            return refuse(INVALID_VALUE, "cuFuncSetAttribute: %s asks for %d bytes of shared memory", function->name, value);
        function->dynamic_shared = value > 48 << 10 ? value : 48 << 10;
    }
    return SUCCESS;
}
API Status cuFuncGetAttribute(int *value, int which, Function *function) {
    *value = which == 0 ? 1024 : which == 1 ? function->static_shared : which == 8 ? function->dynamic_shared : 0;
    return SUCCESS;
}

// ---- tensor maps (TMA): what cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col document

typedef struct { uint64_t mark; Address at; } Map;

static Status encode(const char *call, Map *map, int type, unsigned rank, Address at, const uint64_t *sizes, const uint64_t *strides, const unsigned *steps) {
    static const int BYTES[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
    memset(map, 0, 128);
    Status status = ready(call);
    if (status) return status;
    if (rank < 1 || rank > 5 || type < 0 || type > 12) return refuse(INVALID_VALUE, "%s: rank %u, type %d", call, rank, type);
    if (at % 16 || !live(at, 1)) return refuse(INVALID_VALUE, "%s: address %llx", call, (unsigned long long)at);
    for (unsigned i = 0; i < rank; i++) {
        if (sizes[i] < 1 || sizes[i] > 1ull << 32) return refuse(INVALID_VALUE, "%s: size %llu", call, (unsigned long long)sizes[i]);
        if (steps[i] < 1 || steps[i] > 8) return refuse(INVALID_VALUE, "%s: element stride %u", call, steps[i]);
        if (i + 1 < rank && (strides[i] % 16 || strides[i] >= 1ull << 40)) return refuse(INVALID_VALUE, "%s: stride %llu", call, (unsigned long long)strides[i]);
    }
    if (rank > 1 && strides[0] < sizes[0] * BYTES[type]) return refuse(INVALID_VALUE, "%s: rows overlap", call);
    *map = (Map){MAP_MARK, at};
    return SUCCESS;
}
API Status cuTensorMapEncodeTiled(Map *map, int type, unsigned rank, Address at, const uint64_t *sizes, const uint64_t *strides,
                                  const unsigned *box, const unsigned *steps, int interleave, int swizzle, int promotion, int fill) {
    static const unsigned BYTES[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4}, SPAN[] = {0, 32, 64, 128};
    (void)promotion, (void)fill;
    Status status = encode("cuTensorMapEncodeTiled", map, type, rank, at, sizes, strides, steps);
    for (unsigned i = 0; !status && i < rank; i++)
        if (box[i] < 1 || box[i] > 256) status = refuse(INVALID_VALUE, "cuTensorMapEncodeTiled: a box of %u, where 1 to 256 are allowed", box[i]);
    if (status) return status;
    unsigned row = box[0] * BYTES[type];
    if (row % 16 && !interleave) return refuse(INVALID_VALUE, "cuTensorMapEncodeTiled: %u bytes in a row of the box, no multiple of 16", row);
    if (!interleave && swizzle > 0 && swizzle < 4 && row > SPAN[swizzle]) return refuse(INVALID_VALUE, "cuTensorMapEncodeTiled: %u bytes in a row of the box, more than the swizzle's", row);
    return SUCCESS;
}
API Status cuTensorMapEncodeIm2col(Map *map, int type, unsigned rank, Address at, const uint64_t *sizes, const uint64_t *strides, const int *lower,
                                   const int *upper, unsigned channels, unsigned pixels, const unsigned *steps, int interleave, int swizzle, int promotion, int fill) {
    static const int LIMIT[] = {32768, 128, 16};
    (void)interleave, (void)swizzle, (void)promotion, (void)fill;
    if (rank < 3) return refuse(INVALID_VALUE, "cuTensorMapEncodeIm2col: rank %u", rank);
    Status status = encode("cuTensorMapEncodeIm2col", map, type, rank, at, sizes, strides, steps);
    if (status) return status;
    if (channels > 256 || pixels > 1024) return refuse(INVALID_VALUE, "cuTensorMapEncodeIm2col: %u channels, %u pixels", channels, pixels);
    for (unsigned i = 0; i < rank - 2; i++) {
        int limit = LIMIT[rank - 3];
        if (lower[i] < -limit || lower[i] >= limit || upper[i] < -limit || upper[i] >= limit)
            return refuse(INVALID_VALUE, "cuTensorMapEncodeIm2col: corners %d and %d", lower[i], upper[i]);
    }
    return SUCCESS;
}
API Status cuTensorMapEncodeIm2colWide(Map *map) { memset(map, 0, 128); return refuse(NOT_SUPPORTED, "cuTensorMapEncodeIm2colWide: not pretended"); }

// ---- launches

// What a kernel would fault on: memory that is not there.
static Status check_arguments(const Function *function, void **arguments) {
    for (int i = 0; i < function->parameter_count; i++) {
        if (!arguments || !arguments[i]) return refuse(INVALID_VALUE, "cuLaunchKernel: %s, argument %d is missing", function->name, i);
        if (function->parameters[i] == POINTER) {
            Address at = *(Address *)arguments[i];
            if (!live(at, 1)) return fault("cuLaunchKernel: %s, argument %d is %s", function->name, i, at ? "freed memory" : "a null pointer");
        } else if (function->parameters[i] == TENSOR_MAP) {
            const Map *map = arguments[i];
            if (map->mark != MAP_MARK || !live(map->at, 1)) return fault("cuLaunchKernel: %s, argument %d is no map of live memory", function->name, i);
        }
    }
    return SUCCESS;
}

API Status cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
                          unsigned shared, void *stream, void **arguments, void **extra) {
    (void)stream, (void)extra;
    Status status = ready("cuLaunchKernel");
    if (status) return status;
    uint64_t threads = (uint64_t)block_x * block_y * block_z, blocks = (uint64_t)grid_x * grid_y * grid_z;
    const char *name = function->name;
    if (!blocks || grid_x > 2147483647 || grid_y > 65535 || grid_z > 65535)
        return refuse(INVALID_VALUE, "cuLaunchKernel: %s, grid %u %u %u", name, grid_x, grid_y, grid_z);
    if (!threads || block_x > 1024 || block_y > 1024 || block_z > 64 || threads > 1024)
        return refuse(INVALID_VALUE, "cuLaunchKernel: %s, block %u %u %u", name, block_x, block_y, block_z);
    if (function->most_threads && threads > (uint64_t)function->most_threads)
        return refuse(OUT_OF_RESOURCES, "cuLaunchKernel: %s, %llu threads where it was compiled for %d", name, (unsigned long long)threads, function->most_threads);
    if (shared > (unsigned)function->dynamic_shared || (int)shared + function->static_shared > attribute(97))
        return refuse(INVALID_VALUE, "cuLaunchKernel: %s, %u bytes of shared memory", name, shared);
    status = check_arguments(function, arguments);
    if (status) return status;
    enter();
    counts.launches++;
    counts.launches_by_kind[function->kind]++;
    function->launches++;
    // No claim about speed. cubecl's probes of a device grow until 20 ms have passed, so a launch takes
    // that much; a little for each thread makes larger grids slower, the same in every run.
    device_works(20.0 + 2e-8 * (double)(blocks * threads));
    leave();
    return SUCCESS;
}

// ---- graphs: not pretended

API Status cuStreamBeginCapture_v2(void *stream, int mode) { (void)stream, (void)mode; return refuse(NOT_SUPPORTED, "cuStreamBeginCapture: not pretended"); }
API Status cuStreamEndCapture(void *stream, void **graph) { (void)stream; *graph = NULL; return refuse(NOT_SUPPORTED, "cuStreamEndCapture: not pretended"); }
API Status cuGraphDestroy(void *graph) { (void)graph; return NOT_SUPPORTED; }
