"""Plans: class sizes and a class mix in, exact weights and the tables that are drawn from out."""
