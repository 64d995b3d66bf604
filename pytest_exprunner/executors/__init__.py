"""Executors call handlers: the contract of an executor, and one module or package per engine."""
