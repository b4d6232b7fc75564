// A libcuda.so that computes nothing and checks what a driver checks.
//
// The CUDA build runs whole jobs on it: device memory is numbers (addresses that are never given
// twice, so that a freed one is always noticed), launches are checked and counted, uploads are
// checked and forgotten, downloads are filled with one pattern. Written against the CUDA driver API
// reference (docs.nvidia.com/cuda/cuda-driver-api); it answers the calls that cubecl-cuda makes.
//
//   GPU_DRY_SM      compute capability, default 90
//   GPU_DRY_GIB     memory, default 80
//   GPU_DRY_DRIVER  driver version as cuDriverGetVersion tells it, default 13050
//   GPU_DRY_REPORT  file for the report, written when the program ends
//   GPU_DRY_FILL    byte that downloads are filled with, default 0x38: 0.53 in f16, 4.4e-5 in bf16
//                   and f32; finite, and not black, in every type that results have
#include "standin.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Counts counts;
static pthread_mutex_t lock;
static __thread void *current;
static int contexts, faulted;
static double clock_ms;
static char *refusals;
static size_t refusals_length;

void enter(void) { pthread_mutex_lock(&lock); }
void leave(void) { pthread_mutex_unlock(&lock); }
double device_ms(void) { return clock_ms; }
void device_works(double ms) { clock_ms += ms; }

long setting(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value && *value ? strtol(value, NULL, 0) : otherwise;
}

static void note(const char *format, va_list arguments) {
    char line[600];
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    if (length > (int)sizeof line - 2) length = sizeof line - 2;
    enter();
    counts.refusals++;
    if (refusals_length < 1 << 16) {
        refusals = realloc(refusals, refusals_length + length + 12);
        refusals_length += sprintf(refusals + refusals_length, "refused %s\n", line);
    }
    leave();
}

Status refuse(Status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    note(format, arguments);
    va_end(arguments);
    return status;
}

Status fault(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    note(format, arguments);
    va_end(arguments);
    faulted = 1;
    return ILLEGAL_ADDRESS;
}

Status ready(const char *call) {
    if (faulted) return ILLEGAL_ADDRESS;
    return current ? SUCCESS : refuse(INVALID_CONTEXT, "%s: no context is current on this thread", call);
}

// ---- stretches: what was asked between two waits of the host, such as one step or one token

static struct Counts *marks;
static size_t mark_count, mark_room;

static void waited(void) {
    enter();
    counts.waits++;
    if (mark_count == mark_room) marks = realloc(marks, (mark_room = mark_room * 2 + 1024) * sizeof *marks);
    marks[mark_count++] = counts;
    leave();
}

// Those without a launch, such as the waits of loading, are left out.
static void report_stretches(FILE *file) {
    struct Counts none = {0};
    for (size_t i = 0; i < mark_count; i++) {
        const struct Counts *before = i ? marks + i - 1 : &none, *now = marks + i;
        if (now->launches == before->launches) continue;
        fprintf(file, "stretch launches=%lu uploads=%lu upload_bytes=%llu downloads=%lu kernels=%lu device_copies=%lu", now->launches - before->launches,
                now->uploads - before->uploads, now->upload_bytes - before->upload_bytes, now->downloads - before->downloads,
                now->kernels - before->kernels, now->device_copies - before->device_copies);
        for (int kind = 0; kind_name(kind); kind++) fprintf(file, " %s=%lu", kind_name(kind), now->launches_by_kind[kind] - before->launches_by_kind[kind]);
        fputc('\n', file);
    }
}

static void write_report(void) {
    const char *path = getenv("GPU_DRY_REPORT");
    FILE *file = path && *path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "kernels %lu\nlaunches %lu\n", counts.kernels, counts.launches);
    fprintf(file, "uploads %lu\nupload_bytes %llu\n", counts.uploads, counts.upload_bytes);
    fprintf(file, "downloads %lu\ndownload_bytes %llu\n", counts.downloads, counts.download_bytes);
    fprintf(file, "device_copies %lu\ndevice_copy_bytes %llu\n", counts.device_copies, counts.device_copy_bytes);
    fprintf(file, "waits %lu\nallocations %lu\npeak_bytes %llu\n", counts.waits, counts.allocations, counts.peak_bytes);
    fprintf(file, "refusals %lu\n", counts.refusals);
    for (int kind = 0; kind_name(kind); kind++) fprintf(file, "kind %s %lu\n", kind_name(kind), counts.launches_by_kind[kind]);
    report_stretches(file);
    report_kernels(file);
    if (refusals) fputs(refusals, file);
    fclose(file);
}

__attribute__((constructor)) static void start(void) {
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &recursive);
    atexit(write_report);
}

// ---- the device

int attribute(int which) {
    int sm = (int)setting("GPU_DRY_SM", 90);
    int is_server = sm == 80 || sm == 90 || sm == 100;
    int shared_kib = sm == 80 ? 164 : is_server ? 228 : 100;
    switch (which) {
        case 1: return 1024;                                     // threads of a block
        case 2: case 3: return 1024;                             // block, x and y
        case 4: return 64;                                       // block, z
        case 5: return 2147483647;                               // grid, x
        case 6: case 7: return 65535;                            // grid, y and z
        case 8: return 48 << 10;                                 // shared memory of a block
        case 10: return 32;                                      // threads of a warp
        case 12: return 65536;                                   // registers of a block
        case 13: return 1980000;                                 // clock, kHz
        case 16: return sm == 80 ? 108 : sm == 90 ? 132 : 128;   // multiprocessors
        case 39: return is_server ? 2048 : 1536;                 // threads of a multiprocessor
        case 40: return 1;                                       // copies beside kernels
        case 41: return 1;                                       // one address space
        case 75: return sm / 10;                                 // compute capability
        case 76: return sm % 10;
        case 81: return shared_kib << 10;                        // shared memory of a multiprocessor
        case 97: return (shared_kib - 1) << 10;                  // of a block that asks for more
        case 115: return 1;                                      // stream-ordered allocation
        case 120: return sm >= 90;                               // clusters
        default: return 0;
    }
}

static size_t total_bytes(void) { return (size_t)setting("GPU_DRY_GIB", 80) << 30; }

API Status cuInit(unsigned flags) { return flags ? INVALID_VALUE : SUCCESS; }
API Status cuDriverGetVersion(int *version) { *version = (int)setting("GPU_DRY_DRIVER", 13050); return SUCCESS; }
API Status cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
API Status cuDeviceGet(int *device, int index) { *device = 0; return index ? INVALID_DEVICE : SUCCESS; }
API Status cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, length, "stand-in, sm_%ld", setting("GPU_DRY_SM", 90));
    return device ? INVALID_DEVICE : SUCCESS;
}
API Status cuDeviceGetUuid_v2(unsigned char *uuid, int device) { memset(uuid, 1, 16); return device ? INVALID_DEVICE : SUCCESS; }
API Status cuDeviceGetUuid(unsigned char *uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
API Status cuDeviceGetPCIBusId(char *id, int length, int device) { snprintf(id, length, "0000:01:00.0"); return device ? INVALID_DEVICE : SUCCESS; }
API Status cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = total_bytes(); return device ? INVALID_DEVICE : SUCCESS; }
API Status cuDeviceGetAttribute(int *value, int which, int device) { *value = attribute(which); return device ? INVALID_DEVICE : SUCCESS; }
API Status cuGetErrorName(Status status, const char **name) { (void)status; *name = "refused by the stand-in"; return SUCCESS; }
API Status cuGetErrorString(Status status, const char **text) { (void)status; *text = "the report names the reason"; return SUCCESS; }

// ---- contexts: the primary one alone

API Status cuDevicePrimaryCtxRetain(void **context, int device) {
    if (device) return INVALID_DEVICE;
    contexts++;
    *context = &contexts;
    return SUCCESS;
}
API Status cuDevicePrimaryCtxRelease_v2(int device) {
    if (device || contexts == 0) return refuse(INVALID_CONTEXT, "cuDevicePrimaryCtxRelease: the context is not retained");
    contexts--;
    return SUCCESS;
}
API Status cuCtxSetCurrent(void *context) {
    if (context && (context != &contexts || contexts == 0)) return refuse(INVALID_CONTEXT, "cuCtxSetCurrent: no such context");
    current = context;
    return SUCCESS;
}
API Status cuCtxGetCurrent(void **context) { *context = current; return SUCCESS; }
API Status cuCtxSynchronize(void) {
    Status status = ready("cuCtxSynchronize");
    if (!status) waited();
    return status;
}
API Status cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return ready("cuCtxGetStreamPriorityRange"); }

// ---- memory: sorted spans of addresses, none given twice

typedef struct { Address at; size_t size; } Span;
static Span *spans;
static size_t span_count, span_room;
static Address next_address = 0x700000000000;

static Status allocate(const char *call, Address *address, size_t size) {
    Status status = ready(call);
    if (status) return status;
    if (!size) return refuse(INVALID_VALUE, "%s: no bytes", call);
    enter();
    if (counts.held_bytes + size > total_bytes()) { leave(); return OUT_OF_MEMORY; }
    if (span_count == span_room) spans = realloc(spans, (span_room = span_room * 2 + 64) * sizeof *spans);
    spans[span_count++] = (Span){next_address, size};
    *address = next_address;
    next_address += (size + 4095) / 4096 * 4096 + 4096;
    counts.allocations++;
    counts.held_bytes += size;
    if (counts.held_bytes > counts.peak_bytes) counts.peak_bytes = counts.held_bytes;
    leave();
    return SUCCESS;
}

// The place of the last span that begins at or before the address; -1 for none.
static long span_of(Address at) {
    long low = 0, high = (long)span_count;
    while (low < high) {
        long middle = (low + high) / 2;
        if (spans[middle].at <= at) low = middle + 1; else high = middle;
    }
    return low - 1;
}

int live(Address at, size_t size) {
    enter();
    long place = span_of(at);
    int is_live = place >= 0 && at + size <= spans[place].at + spans[place].size && at < spans[place].at + spans[place].size;
    leave();
    return is_live;
}

static Status release(const char *call, Address at) {
    Status status = ready(call);
    if (status) return status;
    enter();
    long place = span_of(at);
    if (place < 0 || spans[place].at != at) { leave(); return refuse(INVALID_VALUE, "%s: %llx is no allocation", call, (unsigned long long)at); }
    counts.held_bytes -= spans[place].size;
    memmove(spans + place, spans + place + 1, (span_count - place - 1) * sizeof *spans);
    span_count--;
    leave();
    return SUCCESS;
}

API Status cuMemGetInfo_v2(size_t *available, size_t *total) {
    Status status = ready("cuMemGetInfo");
    *total = total_bytes();
    *available = *total - counts.held_bytes;
    return status;
}
API Status cuMemAlloc_v2(Address *address, size_t size) { return allocate("cuMemAlloc", address, size); }
API Status cuMemFree_v2(Address address) { return release("cuMemFree", address); }
API Status cuMemAllocAsync(Address *address, size_t size, void *stream) { (void)stream; return allocate("cuMemAllocAsync", address, size); }
API Status cuMemFreeAsync(Address address, void *stream) { (void)stream; return release("cuMemFreeAsync", address); }
API Status cuMemAllocHost_v2(void **memory, size_t size) {
    *memory = size ? aligned_alloc(4096, (size + 4095) / 4096 * 4096) : NULL;
    return *memory ? SUCCESS : refuse(size ? OUT_OF_MEMORY : INVALID_VALUE, "cuMemAllocHost: %zu bytes", size);
}
API Status cuMemFreeHost(void *memory) {
    if (!memory) return refuse(INVALID_VALUE, "cuMemFreeHost: no memory");
    free(memory);
    return SUCCESS;
}

// ---- copies

static Status copies(const char *call, Address device, size_t size, const void *host) {
    Status status = ready(call);
    if (status || !size) return status;
    if (!live(device, size)) return refuse(INVALID_VALUE, "%s: %zu bytes at %llx are not one live allocation", call, size, (unsigned long long)device);
    return host ? SUCCESS : refuse(INVALID_VALUE, "%s: no host memory", call);
}
static void uploaded(size_t size) { enter(); counts.uploads++; counts.upload_bytes += size; leave(); }
static void downloaded(size_t size) { enter(); counts.downloads++; counts.download_bytes += size; leave(); }

API Status cuMemcpyHtoDAsync_v2(Address target, const void *source, size_t size, void *stream) {
    (void)stream;
    Status status = copies("cuMemcpyHtoDAsync", target, size, source);
    if (!status) uploaded(size);
    return status;
}
API Status cuMemcpyDtoHAsync_v2(void *target, Address source, size_t size, void *stream) {
    (void)stream;
    Status status = copies("cuMemcpyDtoHAsync", source, size, target);
    if (status) return status;
    memset(target, (int)setting("GPU_DRY_FILL", 0x38), size);
    downloaded(size);
    return SUCCESS;
}
API Status cuMemcpyDtoDAsync_v2(Address target, Address source, size_t size, void *stream) {
    (void)stream;
    Status status = copies("cuMemcpyDtoDAsync, target", target, size, "");
    if (!status) status = copies("cuMemcpyDtoDAsync, source", source, size, "");
    if (status) return status;
    enter();
    counts.device_copies++;
    counts.device_copy_bytes += size;
    leave();
    return SUCCESS;
}
API Status cuMemcpyHtoD_v2(Address target, const void *source, size_t size) {
    Status status = cuMemcpyHtoDAsync_v2(target, source, size, NULL);
    if (!status) waited();
    return status;
}
API Status cuMemcpyDtoH_v2(void *target, Address source, size_t size) {
    Status status = cuMemcpyDtoHAsync_v2(target, source, size, NULL);
    if (!status) waited();
    return status;
}

// CUDA_MEMCPY2D; memory types: 1 the host's, 2 the device's.
typedef struct {
    size_t source_x, source_y;
    unsigned source_type;
    const void *source_host;
    Address source_device;
    void *source_array;
    size_t source_pitch, target_x, target_y;
    unsigned target_type;
    void *target_host;
    Address target_device;
    void *target_array;
    size_t target_pitch, width, height;
} Rows;

API Status cuMemcpy2DAsync_v2(const Rows *rows, void *stream) {
    (void)stream;
    size_t bytes = rows->width * rows->height;
    int is_upload = rows->source_type == 1 && rows->target_type == 2;
    if (!is_upload && !(rows->source_type == 2 && rows->target_type == 1)) return refuse(NOT_SUPPORTED, "cuMemcpy2DAsync: neither an upload nor a download");
    if (rows->source_pitch < rows->width || rows->target_pitch < rows->width) return refuse(INVALID_VALUE, "cuMemcpy2DAsync: rows wider than their pitch");
    Address device = is_upload ? rows->target_device : rows->source_device;
    size_t pitch = is_upload ? rows->target_pitch : rows->source_pitch;
    const void *host = is_upload ? rows->source_host : rows->target_host;
    Status status = copies("cuMemcpy2DAsync", device, bytes ? (rows->height - 1) * pitch + rows->width : 0, host);
    if (status) return status;
    for (size_t y = 0; !is_upload && y < rows->height; y++)
        memset((char *)rows->target_host + y * rows->target_pitch, (int)setting("GPU_DRY_FILL", 0x38), rows->width);
    (is_upload ? uploaded : downloaded)(bytes);
    return SUCCESS;
}

// ---- streams and events: all work is done at once

enum { EVENT = 0x45564e54, STREAM = 0x53545245 };
typedef struct { int kind, is_recorded; double ms; } Handle;

static Status make(const char *call, Handle **handle, int kind) {
    Status status = ready(call);
    if (status) return status;
    *handle = calloc(1, sizeof **handle);
    (*handle)->kind = kind;
    return SUCCESS;
}
// Handles stay readable after their end, so that a use after it is noticed.
static Status end(const char *call, Handle *handle, int kind) {
    if (!handle || handle->kind != kind) return refuse(INVALID_HANDLE, "%s: no such handle", call);
    handle->kind = 0;
    return SUCCESS;
}
// Any thread may use a handle, which carries its context; only making one needs a current one.
static Status use(const char *call, Handle *handle, int kind) {
    if (faulted) return ILLEGAL_ADDRESS;
    return handle && handle->kind == kind ? SUCCESS : refuse(INVALID_HANDLE, "%s: no such handle", call);
}
static Status wait_for(const char *call, Handle *handle, int kind) {
    Status status = use(call, handle, kind);
    if (!status) waited();
    return status;
}

API Status cuStreamCreate(Handle **stream, unsigned flags) { (void)flags; return make("cuStreamCreate", stream, STREAM); }
API Status cuStreamCreateWithPriority(Handle **stream, unsigned flags, int priority) { (void)priority; return cuStreamCreate(stream, flags); }
API Status cuStreamDestroy_v2(Handle *stream) { return end("cuStreamDestroy", stream, STREAM); }
API Status cuStreamSynchronize(Handle *stream) { return wait_for("cuStreamSynchronize", stream, STREAM); }
API Status cuStreamQuery(Handle *stream) { return use("cuStreamQuery", stream, STREAM); }
API Status cuStreamWaitEvent(Handle *stream, Handle *event, unsigned flags) {
    Status status = use("cuStreamWaitEvent", stream, STREAM);
    return status || flags ? (status ? status : INVALID_VALUE) : use("cuStreamWaitEvent", event, EVENT);
}
API Status cuEventCreate(Handle **event, unsigned flags) { (void)flags; return make("cuEventCreate", event, EVENT); }
API Status cuEventDestroy_v2(Handle *event) { return end("cuEventDestroy", event, EVENT); }
API Status cuEventRecord(Handle *event, Handle *stream) {
    Status status = use("cuEventRecord", event, EVENT);
    if (!status) status = use("cuEventRecord", stream, STREAM);
    if (!status) { event->ms = clock_ms; event->is_recorded = 1; }
    return status;
}
API Status cuEventQuery(Handle *event) { return use("cuEventQuery", event, EVENT); }
API Status cuEventSynchronize(Handle *event) { return wait_for("cuEventSynchronize", event, EVENT); }
API Status cuEventElapsedTime(float *ms, Handle *start, Handle *finish) {
    Status status = use("cuEventElapsedTime", start, EVENT);
    if (!status) status = use("cuEventElapsedTime", finish, EVENT);
    if (status) return status;
    if (!start->is_recorded || !finish->is_recorded) return refuse(INVALID_HANDLE, "cuEventElapsedTime: an event was not recorded");
    *ms = (float)(finish->ms - start->ms);
    return SUCCESS;
}
API Status cuEventElapsedTime_v2(float *ms, Handle *start, Handle *finish) { return cuEventElapsedTime(ms, start, finish); }
