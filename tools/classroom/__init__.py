"""What a teacher hands out: editions, slides, tables of the guide, a USB stick."""
