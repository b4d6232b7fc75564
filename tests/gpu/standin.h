// What the parts of the stand-in driver share. See driver.c.
#ifndef STANDIN_H
#define STANDIN_H

#include <stddef.h>
#include <stdint.h>

#define API __attribute__((visibility("default")))

// The driver API's own numbers (cuda.h, CUresult).
typedef int Status;
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_PTX = 218,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    OUT_OF_RESOURCES = 701,
    NOT_SUPPORTED = 801,
};
typedef uint64_t Address;

// One refusal is one line of the report; what a driver would answer is returned.
Status refuse(Status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The status that every call with a context starts with: none is current, or an earlier fault is sticky.
Status ready(const char *call);
// After this every call answers ILLEGAL_ADDRESS, as a faulting kernel leaves a context.
Status fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

void enter(void);
void leave(void);
// A setting from the environment, or `otherwise`.
long setting(const char *name, long otherwise);
// A device attribute by CUdevice_attribute number.
int attribute(int which);

// True when `[at, at + size)` lies in one live allocation.
int live(Address at, size_t size);

// The pretended device's clock, in milliseconds.
double device_ms(void);
void device_works(double ms);

enum { MOST_KINDS = 16 };

// Counters of the report.
struct Counts {
    unsigned long launches, kernels, uploads, downloads, device_copies, waits, allocations, refusals;
    unsigned long long upload_bytes, download_bytes, device_copy_bytes, held_bytes, peak_bytes;
    unsigned long launches_by_kind[MOST_KINDS];
};
extern struct Counts counts;
// The name of a kind of kernel; NULL behind the last.
const char *kind_name(int kind);
// One line for each kernel.
void report_kernels(void *file);

#endif
