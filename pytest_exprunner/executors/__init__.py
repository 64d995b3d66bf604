"""Where handlers are called: the contract of an executor, and one module or package per engine."""
