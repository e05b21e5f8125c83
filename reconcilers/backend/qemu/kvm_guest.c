/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/kvm_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Where Intel CPUs that cannot run real mode natively keep a task state segment: below the BIOS and
 * outside of the guest's memory (api.rst, KVM_SET_TSS_ADDR). */
#define TSS_ADDRESS 0xfffbd000UL

enum {
    MEMORY_SIZE = 2 << 20, /* one large page, mapped one to one */
    CODE = 0x1000,
    STACK = 0x8000,
    PML4 = 0x10000, /* the three levels of page tables, a page each */
    PDPT = 0x11000,
    PAGE_DIRECTORY = 0x12000,
    CPUID_MAX = 128,
};

/* AMD64 Architecture Programmer's Manual, volume 2: page table and control register bits. */
enum { PTE_PRESENT = 1, PTE_WRITABLE = 2, PTE_LARGE = 0x80 };
enum { CR0_PE = 1, CR0_PG = (int)0x80000000, CR4_PAE = 0x20, EFER_LME = 0x100, EFER_LMA = 0x400 };

struct guest {
    int kvm;
    int vm;
    int vcpu;
    unsigned char *memory;
    struct kvm_run *run;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A guest kernel needs no CPUID here, but KVM refuses long mode to a vCPU that does not list it. */
static void offer_host_features(const struct guest *guest)
{
    _Alignas(struct kvm_cpuid2) unsigned char
        bytes[sizeof(struct kvm_cpuid2) + CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
    struct kvm_cpuid2 *features = (struct kvm_cpuid2 *)bytes;
    memset(bytes, 0, sizeof(bytes));
    features->nent = CPUID_MAX;
    if (ioctl(guest->kvm, KVM_GET_SUPPORTED_CPUID, features) == 0) {
        ioctl(guest->vcpu, KVM_SET_CPUID2, features);
    }
}

static enum kvm_step make_memory(struct guest *guest)
{
    guest->memory =
        mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (guest->memory == MAP_FAILED) {
        return KVM_STEP_MAKE_MEMORY;
    }
    struct kvm_userspace_memory_region region = {
        .memory_size = MEMORY_SIZE, .userspace_addr = (uintptr_t)guest->memory};
    ioctl(guest->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
    return ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? KVM_STEP_MAKE_MEMORY
                                                                     : KVM_STEP_DONE;
}

static enum kvm_step make_vcpu(struct guest *guest)
{
    guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0);
    int size = ioctl(guest->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (guest->vcpu < 0 || size < (int)sizeof(struct kvm_run)) {
        return KVM_STEP_MAKE_VCPU;
    }
    guest->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0);
    if (guest->run == MAP_FAILED) {
        return KVM_STEP_MAKE_VCPU;
    }
    offer_host_features(guest);
    return KVM_STEP_DONE;
}

static enum kvm_step make_guest(struct guest *guest)
{
    guest->vm = ioctl(guest->kvm, KVM_CREATE_VM, 0);
    if (guest->vm < 0) {
        return KVM_STEP_MAKE_VM;
    }
    enum kvm_step step = make_memory(guest);
    return step == KVM_STEP_DONE ? make_vcpu(guest) : step;
}

static void put_u64(unsigned char *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void enter_long_mode(const struct guest *guest, struct kvm_sregs *s)
{
    put_u64(guest->memory + PML4, PDPT | PTE_PRESENT | PTE_WRITABLE);
    put_u64(guest->memory + PDPT, PAGE_DIRECTORY | PTE_PRESENT | PTE_WRITABLE);
    put_u64(guest->memory + PAGE_DIRECTORY, PTE_PRESENT | PTE_WRITABLE | PTE_LARGE);
    s->cr3 = PML4;
    s->cr4 = CR4_PAE;
    s->cr0 |= (uint32_t)CR0_PE | (uint32_t)CR0_PG;
    s->efer = EFER_LME | EFER_LMA;
    s->cs = (struct kvm_segment){.limit = 0xffffffff,
        .selector = 8,
        .type = 11,
        .present = 1,
        .s = 1,
        .l = 1,
        .g = 1}; /* 64-bit code, accessed */
    struct kvm_segment data = {.limit = 0xffffffff,
        .selector = 16,
        .type = 3,
        .present = 1,
        .db = 1,
        .s = 1,
        .g = 1}; /* read and write, accessed */
    s->ds = s->es = s->fs = s->gs = s->ss = data;
}

static void load_real_mode_code(const struct guest *guest)
{
    static const unsigned char code[] = {
        0xe6, 0x80, /* out 0x80, al */
        0xf4,       /* hlt */
    };
    memcpy(guest->memory + CODE, code, sizeof(code));
}

static void load_loop_code(const struct guest *guest)
{
    static const unsigned char code[] = {
        0xb9, 0, 0, 0, 0, /* mov ecx, turns */
        0xff, 0xc9,       /* dec ecx */
        0x75, 0xfc,       /* jnz -4 */
        0xf4,             /* hlt */
    };
    uint32_t turns = KVM_LOOP_TURNS;
    memcpy(guest->memory + CODE, code, sizeof(code));
    memcpy(guest->memory + CODE + 1, &turns, sizeof(turns));
}

static enum kvm_step set_registers(const struct guest *guest, enum kvm_stage stage)
{
    struct kvm_regs registers = {.rip = CODE, .rsp = STACK, .rflags = 2 /* bit 1 is always set */};
    struct kvm_sregs special;
    if (ioctl(guest->vcpu, KVM_GET_SREGS, &special) < 0) {
        return KVM_STEP_SET_REGISTERS;
    }
    special.cs.base = 0;
    special.cs.selector = 0;
    if (stage == KVM_STAGE_LONG_MODE) {
        enter_long_mode(guest, &special);
        load_loop_code(guest);
    } else {
        load_real_mode_code(guest);
    }
    bool is_set = ioctl(guest->vcpu, KVM_SET_SREGS, &special) == 0 &&
                  ioctl(guest->vcpu, KVM_SET_REGS, &registers) == 0;
    return is_set ? KVM_STEP_DONE : KVM_STEP_SET_REGISTERS;
}

static enum kvm_step run(const struct guest *guest, struct kvm_report *report)
{
    int64_t start = now_ns();
    do {
        if (ioctl(guest->vcpu, KVM_RUN, 0) < 0) {
            return KVM_STEP_RUN;
        }
    } while (guest->run->exit_reason == KVM_EXIT_IO);
    report->elapsed_ns = now_ns() - start;
    report->exit_reason = (int32_t)guest->run->exit_reason;
    return guest->run->exit_reason == KVM_EXIT_HLT ? KVM_STEP_DONE : KVM_STEP_HALT;
}

static enum kvm_step run_stage(int kvm, enum kvm_stage stage, struct kvm_report *report)
{
    struct guest guest = {.kvm = kvm, .vm = -1, .vcpu = -1};
    enum kvm_step step = make_guest(&guest);
    if (step == KVM_STEP_DONE) {
        step = set_registers(&guest, stage);
    }
    return step == KVM_STEP_DONE ? run(&guest, report) : step;
}

static enum kvm_step open_kvm(int *ret_kvm)
{
    *ret_kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (*ret_kvm < 0) {
        return KVM_STEP_OPEN;
    }
    return ioctl(*ret_kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION ? KVM_STEP_DONE
                                                                      : KVM_STEP_VERSION;
}

void kvm_guest_run(int report_fd)
{
    int kvm = -1;
    enum kvm_step step = open_kvm(&kvm);
    for (int stage = 0; stage < KVM_STAGE_COUNT_; stage++) {
        struct kvm_report report = {.stage = stage};
        if (step == KVM_STEP_DONE) {
            step = run_stage(kvm, (enum kvm_stage)stage, &report);
        }
        report.step = step;
        report.error_number = errno;
        if (write(report_fd, &report, sizeof(report)) < 0 || step != KVM_STEP_DONE) {
            break;
        }
    }
    _exit(0);
}
