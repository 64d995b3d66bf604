"""Where a result came from: code, data, environment, machine."""
