package postgres

type erasure struct{}

func (*erasure) deleted() {}
