"""What the client answers with: frozen values, one module each. The dotted module is needed to import one."""
