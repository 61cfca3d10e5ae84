package cluster

import "syscall"

// endWithParent has the process die when this one does, however that comes about. A process that is killed
// cannot stop its children, and these would go on to hold ports and folders. Each of them survives being killed. The signal follows
// the thread that started the process; the runtime ends no thread of ours before the end.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
