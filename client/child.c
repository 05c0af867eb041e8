/*
 * child.c - fork, exec, signals, wait.
 *
 * The child keeps our standard streams, its own process group stays ours, so a
 * Ctrl-C at the terminal reaches both: it is passed on only when it was sent
 * to us alone (by kill, as container engines do). A signal that our parent had
 * us ignore (nohup) stays ignored, here and in the child.
 *
 * The handler reads two words that only the main thread writes. A pid is taken
 * away from it before the child is reaped, so that no other process can have
 * got the number; the remote, before it is freed.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "cli.h"
#include "output.h"

#define SIGNALS 3

static const int taken_signals[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
static struct sigaction old_actions[SIGNALS]; /* what the child gets back */
static bool taken;

static _Atomic(struct cm_remote *) signal_remote;
static atomic_int first_signal;
static atomic_int child_pid; /* 0: none runs */

static void on_signal(int signal, siginfo_t *info, void *context)
{
	struct cm_remote *remote = atomic_load(&signal_remote);
	int pid = atomic_load(&child_pid), none = 0, saved = errno;

	(void)context;
	atomic_compare_exchange_strong(&first_signal, &none, signal);
	if (remote)
		cm_remote_cancel(remote);
	if (pid > 0 && info->si_code <= 0)
		kill(pid, signal);
	errno = saved;
}

void cm_signals_take(struct cm_remote *remote)
{
	struct sigaction action = {.sa_sigaction = on_signal,
				   .sa_flags = SA_SIGINFO | SA_RESTART};

	atomic_store(&signal_remote, remote);
	sigemptyset(&action.sa_mask);
	if (taken)
		return;
	for (size_t i = 0; i < SIGNALS; i++) {
		sigaction(taken_signals[i], NULL, &old_actions[i]);
		if (old_actions[i].sa_handler != SIG_IGN)
			sigaction(taken_signals[i], &action, NULL);
	}
	taken = true;
}

void cm_signals_detach(void)
{
	atomic_store(&signal_remote, NULL);
}

int cm_signals_caught(void)
{
	return atomic_load(&first_signal);
}

/* In the child: the command in our place, with the signals as they were. */
static void become(char *const *argv)
{
	int status;

	for (size_t i = 0; taken && i < SIGNALS; i++)
		sigaction(taken_signals[i], &old_actions[i], NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	execvp(argv[0], argv);
	status = errno == ENOENT ? CM_EXIT_NO_COMMAND : CM_EXIT_NOT_RUNNABLE;
	cm_say("cannot run %s: %s", argv[0], strerror(errno));
	_exit(status);
}

static int wait_for(pid_t pid)
{
	siginfo_t info;
	int status;

	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0)
		if (errno != EINTR)
			return CM_EXIT_FAILED;
	atomic_store(&child_pid, 0);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return CM_EXIT_FAILED;
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

int cm_child_run(char *const *argv)
{
	sigset_t all, old;
	pid_t pid;
	int status;

	/* No signal between the fork and the moment the handler knows of it. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	status = cm_signals_caught();
	if (status) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		return 128 + status;
	}
	/* A parent's SIG_IGN here would lose the child's status. */
	signal(SIGCHLD, SIG_DFL);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		become(argv);
	}
	atomic_store(&child_pid, pid > 0 ? pid : 0);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0) {
		cm_say("cannot start a process: %s", strerror(errno));
		return CM_EXIT_NOT_RUNNABLE;
	}
	return wait_for(pid);
}
