"""Tools of a notebook that need models or training: what joins the widgets to the rest of segnb."""
