/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/loop/loop.h"
#include "controller/loop/process.h"
#include "reconcilers/backend/qemu/spawn_detached.h"
#include "specs/base/cleanup.h"
#include "specs/base/compat.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/proc_stat.h"

/* Where the child ended: its exit status. */
enum step {
    STEP_DONE, /* the guest ran to its end */
    STEP_VERSION,
    STEP_VM,
    STEP_MEMORY,
    STEP_VCPU,
    STEP_REGISTERS,
    STEP_RUN, /* KVM_RUN failed, or ended otherwise than by `hlt` */
    STEP_COUNT_
};

static const char *const step_reasons[] = {
    [STEP_DONE] = "",
    [STEP_VERSION] = "/dev/kvm has an unknown API version",
    [STEP_VM] = "KVM cannot create a VM",
    [STEP_MEMORY] = "KVM cannot give memory to a VM",
    [STEP_VCPU] = "KVM cannot create a virtual CPU",
    [STEP_REGISTERS] = "KVM cannot set a virtual CPU's registers",
    [STEP_RUN] = "KVM does not run a 64-bit guest",
};
_Static_assert(ARRAY_LEN(step_reasons) == STEP_COUNT_, "every step has a reason");

/* ---- the guest, by linux: Documentation/virt/kvm/api.rst ---- */

#if defined(__x86_64__)
static const bool has_guest = true;

/* The guest's memory is one large page, mapped one to one. Bits: AMD64 Architecture Programmer's
 * Manual, volume 2. */
enum {
    MEMORY_SIZE = 2 << 20,
    CODE = 0x1000,
    PML4 = 0x2000,
    PDPT = 0x3000,
    PAGE_DIRECTORY = 0x4000
};
enum { PTE_PRESENT = 1, PTE_WRITABLE = 2, PTE_LARGE = 0x80 };
enum { CR0_PE = 1, CR4_PAE = 0x20, EFER_LME = 0x100, EFER_LMA = 0x400, CPUID_MAX = 128 };
#define CR0_PG UINT64_C(0x80000000)
/* Where Intel's KVM keeps a task state segment: outside of the guest's memory. */
#define TSS_ADDRESS 0xfffbd000UL

/* 8 million instructions: a few ms on a CPU, longer than the deadline at 20 ns an instruction. */
static const unsigned char code[] = {
    0xb9, 0x00, 0x09, 0x3d, 0x00, /* mov ecx, 4000000 */
    0xff, 0xc9,                   /* dec ecx */
    0x75, 0xfc,                   /* jnz -4 */
    0xf4,                         /* hlt */
};

static void put_u64(unsigned char *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

static enum step add_memory(int vm)
{
    unsigned char *memory =
        mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = {
        .memory_size = MEMORY_SIZE, .userspace_addr = (uintptr_t)memory};
    (void)ioctl(vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
    if (memory == MAP_FAILED || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        return STEP_MEMORY;
    }
    memcpy(memory + CODE, code, sizeof(code));
    put_u64(memory + PML4, PDPT | PTE_PRESENT | PTE_WRITABLE);
    put_u64(memory + PDPT, PAGE_DIRECTORY | PTE_PRESENT | PTE_WRITABLE);
    put_u64(memory + PAGE_DIRECTORY, PTE_PRESENT | PTE_WRITABLE | PTE_LARGE);
    return STEP_DONE;
}

/* KVM refuses long mode to a vCPU whose CPUID does not list it. */
static void offer_host_features(int kvm, int vcpu)
{
    struct kvm_cpuid2 *features =
        calloc(1, sizeof(struct kvm_cpuid2) + CPUID_MAX * sizeof(struct kvm_cpuid_entry2));
    if (!features) {
        return;
    }
    features->nent = CPUID_MAX;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, features) == 0) {
        (void)ioctl(vcpu, KVM_SET_CPUID2, features);
    }
    free(features);
}

static enum step enter_long_mode(int vcpu)
{
    const struct kvm_regs registers = {.rip = CODE, .rflags = 2 /* bit 1 is always set */};
    struct kvm_segment segment = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    struct kvm_sregs special;
    if (ioctl(vcpu, KVM_GET_SREGS, &special) < 0) {
        return STEP_REGISTERS;
    }
    special.cr0 |= CR0_PE | CR0_PG;
    special.cr3 = PML4;
    special.cr4 = CR4_PAE;
    special.efer = EFER_LME | EFER_LMA;
    special.cs = segment;
    segment.selector = 16;
    segment.type = 3; /* read and write, accessed */
    segment.l = 0;
    segment.db = 1;
    special.ds = special.es = special.fs = special.gs = special.ss = segment;
    return ioctl(vcpu, KVM_SET_SREGS, &special) < 0 || ioctl(vcpu, KVM_SET_REGS, &registers) < 0
               ? STEP_REGISTERS
               : STEP_DONE;
}

static enum step run(int kvm, int vcpu)
{
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    const struct kvm_run *state =
        size < (int)sizeof(struct kvm_run)
            ? MAP_FAILED
            : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (state == MAP_FAILED) {
        return STEP_VCPU;
    }
    offer_host_features(kvm, vcpu);
    enum step step = enter_long_mode(vcpu);
    if (step == STEP_DONE && (ioctl(vcpu, KVM_RUN, 0) < 0 || state->exit_reason != KVM_EXIT_HLT)) {
        return STEP_RUN;
    }
    return step;
}

/* Returns when the guest has ended, if it ever does. Async-signal-safe. */
static enum step run_guest(int kvm)
{
    if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        return STEP_VERSION;
    }
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0) {
        return STEP_VM;
    }
    enum step step = add_memory(vm);
    if (step != STEP_DONE) {
        return step;
    }
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    return vcpu < 0 ? STEP_VCPU : run(kvm, vcpu);
}
#else
static const bool has_guest = false;

static enum step run_guest(int kvm)
{
    (void)kvm;
    return STEP_RUN;
}
#endif

/* ---- its process ---- */

struct kvm_probe {
    struct op op; /* first: op_cancel() finds the probe by it */
    struct loop *loop;
    pid_t pid;               /* 0: none, or reaped */
    struct process *process; /* NULL: none, or it cannot be watched */
    struct loop_timer *timer;
    enum kvm_verdict verdict; /* what the probe says when its timer fires */
    char reason[128];
    kvm_probe_fn *done;
    void *context;
};

static void set_verdict(struct kvm_probe *probe, enum kvm_verdict verdict, const char *reason)
{
    probe->verdict = verdict;
    (void)snprintf(probe->reason, sizeof(probe->reason), "%s", reason);
}

/* SIGKILL ends even a process in KVM_RUN, within about a millisecond. */
static void free_probe(struct op *op)
{
    struct kvm_probe *probe = (struct kvm_probe *)op;
    int pidfd = probe->pid > 0 ? pidfd_open(probe->pid, 0) : -1; /* not reaped: still its pid */
    if (pidfd >= 0) {
        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
        process_reap_later(probe->loop, pidfd);
    }
    process_close(probe->process);
    loop_timer_free(probe->timer);
    free(probe);
}

static void kvm_probe_finish(void *context)
{
    struct kvm_probe probe = *(struct kvm_probe *)context;
    free_probe(&((struct kvm_probe *)context)->op);
    probe.done(probe.context, probe.verdict, probe.reason);
}

static void exited(void *context)
{
    struct kvm_probe *probe = context;
    int status = process_exit_status(probe->process); /* reaps it */
    int step = WIFEXITED(status) ? WEXITSTATUS(status) : STEP_COUNT_;
    probe->pid = 0;
    set_verdict(probe, step == STEP_DONE ? KVM_USABLE : KVM_BROKEN,
        step < STEP_COUNT_ ? step_reasons[step] : "the KVM probe died");
    kvm_probe_finish(probe);
}

/* Keeps only /dev/kvm: a descriptor of the parent held here for longer than it (a lock, another
 * child's start pipe) would make others believe that it is still alive. */
static _Noreturn void run_child(int kvm)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(kvm, STDIN_FILENO) < 0 || close_range(STDERR_FILENO + 1, ~0U, 0) < 0) {
        _exit(STEP_COUNT_);
    }
    _exit((int)run_guest(STDIN_FILENO));
}

/* True: the verdict comes when the child ends, or is that it did not. */
static bool start_child(struct kvm_probe *probe)
{
    cleanup_close int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0 || !has_guest) {
        cleanup_free char *reason = mem_printf("cannot open /dev/kvm: %s", strerror(errno));
        set_verdict(probe, kvm < 0 ? KVM_ABSENT : KVM_UNKNOWN,
            kvm < 0 ? reason : "the KVM probe does not support this CPU architecture");
        return false;
    }
    uint64_t start_ticks = 0;
    struct error err = {.code = ERR_NONE};
    probe->pid = spawn_detached();
    if (probe->pid == 0) {
        run_child(kvm);
    }
    if (probe->pid < 0 || !proc_stat_start_ticks(probe->pid, &start_ticks) ||
        process_watch(probe->loop, probe->pid, start_ticks, exited, probe, &probe->process, &err) <
            0) {
        set_verdict(probe, KVM_BROKEN, "cannot start the KVM probe");
        return false;
    }
    set_verdict(probe, KVM_BROKEN,
        "/dev/kvm is there but runs guests too slowly to boot them (no hardware behind it)");
    return true;
}

struct op *kvm_probe_start(struct loop *loop, kvm_probe_fn *done, void *context)
{
    struct kvm_probe *probe = mem_new(struct kvm_probe);
    *probe = (struct kvm_probe){
        .op = {.cancel = free_probe}, .loop = loop, .done = done, .context = context};
    probe->timer = loop_timer_new(loop, kvm_probe_finish, probe);
    loop_timer_start(probe->timer, start_child(probe) ? KVM_PROBE_TIMEOUT_MS : 0);
    return &probe->op;
}
