"""The embedded labelled task: one large object among small ones, its class a colour and a shape together."""
