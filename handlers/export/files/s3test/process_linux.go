package s3test

import "syscall"

// endWithTest has a process die with the test, also when that is killed or takes too long.
func endWithTest(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
