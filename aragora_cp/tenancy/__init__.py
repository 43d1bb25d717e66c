"""Who is calling, for which workspace, and whether they may. No Flask and no Redis in here."""
