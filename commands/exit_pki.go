package commands

func describePKI(error) (failure, bool) { return failure{}, false }
