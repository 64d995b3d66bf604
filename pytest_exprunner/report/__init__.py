"""What people and programs read: findings, reports and events, each a view of the stored study."""
