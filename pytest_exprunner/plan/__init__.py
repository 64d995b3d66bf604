"""What was promised: ``research_plan.yaml``, read once, as frozen models."""
