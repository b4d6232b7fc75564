// A libnvrtc.so that compiles nothing: each CUDA source becomes an empty kernel of the same name, the
// same parameters and the same bound on threads, so that the stand-in driver can check its launches.
//
//   GPU_DRY_SOURCES  folder for the sources, one file each (for the real compiler, see compile.sh)
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
enum { SUCCESS = 0, COMPILATION = 6, MOST_PTX = 16384 };

typedef struct { char *source; char ptx[MOST_PTX]; char log[200]; } Program;
static int sources;

API int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return SUCCESS; }
API const char *nvrtcGetErrorString(int error) { return error ? "refused by the stand-in compiler" : "success"; }

API int nvrtcCreateProgram(Program **program, const char *source, const char *name, int count, const char *const *headers, const char *const *names) {
    (void)name, (void)count, (void)headers, (void)names;
    *program = calloc(1, sizeof **program);
    (*program)->source = strdup(source);
    return SUCCESS;
}
API int nvrtcDestroyProgram(Program **program) {
    free((*program)->source);
    free(*program);
    *program = NULL;
    return SUCCESS;
}

static void keep_source(const Program *program, int count, const char *const *options) {
    const char *folder = getenv("GPU_DRY_SOURCES");
    if (!folder || !*folder) return;
    char path[4096];
    snprintf(path, sizeof path, "%s/%05d.cu", folder, __sync_fetch_and_add(&sources, 1));
    FILE *file = fopen(path, "w");
    if (!file) return;
    fprintf(file, "//");
    for (int i = 0; i < count; i++) fprintf(file, " %s", options[i]);
    fprintf(file, "\n%s", program->source);
    fclose(file);
}

// Past one `(...)`, whatever it nests.
static const char *past_parentheses(const char *at) {
    int depth = 0;
    do depth += (*at == '(') - (*at == ')'); while (*at++ && depth);
    return at;
}

// The kernel's name: the first word before a parenthesis that is no attribute such as `__launch_bounds__`.
static const char *find_name(const char *at, size_t *length) {
    while (*at) {
        at += strspn(at, " \t\n");
        *length = strcspn(at, " \t\n(");
        if (strncmp(at, "__", 2)) return at;
        at += *length;
        if (*at == '(') at = past_parentheses(at);
    }
    return NULL;
}

static int write_parameter(char *out, size_t room, int index, const char *text, size_t length) {
    char one[1000];
    snprintf(one, sizeof one, "%.*s", (int)length, text);
    if (strstr(one, "TensorMap") || strstr(one, "tensor_map")) return snprintf(out, room, "%s.param .align 64 .b8 p%d[128]", index ? ", " : "", index);
    if (strchr(one, '*')) return snprintf(out, room, "%s.param .u64 p%d", index ? ", " : "", index);
    return snprintf(out, room, "%s.param .align 8 .b8 p%d[8]", index ? ", " : "", index);
}

API int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    keep_source(program, count, options);
    const char *at = strstr(program->source, "__global__ void");
    const char *bounds = at ? strstr(at, "__launch_bounds__(") : NULL;
    size_t length = 0;
    const char *name = at ? find_name(at + strlen("__global__ void"), &length) : NULL;
    if (!name || name[length] != '(') {
        snprintf(program->log, sizeof program->log, "no kernel in the source");
        return COMPILATION;
    }
    char *out = program->ptx;
    size_t used = snprintf(out, MOST_PTX, ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry %.*s(", (int)length, name);
    const char *end = past_parentheses(name + length) - 1, *from = name + length + 1;
    for (int index = 0; from < end && used < MOST_PTX - 200; index++) {
        const char *to = from;
        for (int depth = 0; to < end && (depth || *to != ','); to++) depth += (*to == '<' || *to == '(') - (*to == '>' || *to == ')');
        used += write_parameter(out + used, MOST_PTX - used, index, from, to - from);
        from = to + 1;
    }
    used += snprintf(out + used, MOST_PTX - used, ")\n");
    if (bounds && bounds < name) used += snprintf(out + used, MOST_PTX - used, ".maxntid %ld, 1, 1\n", strtol(bounds + strlen("__launch_bounds__("), NULL, 10));
    snprintf(out + used, MOST_PTX - used, "{ ret; }\n");
    return SUCCESS;
}

API int nvrtcGetPTXSize(Program *program, size_t *size) { *size = strlen(program->ptx) + 1; return SUCCESS; }
API int nvrtcGetPTX(Program *program, char *ptx) { strcpy(ptx, program->ptx); return SUCCESS; }
API int nvrtcGetProgramLogSize(Program *program, size_t *size) { *size = strlen(program->log) + 1; return SUCCESS; }
API int nvrtcGetProgramLog(Program *program, char *log) { strcpy(log, program->log); return SUCCESS; }
