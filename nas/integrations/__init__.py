"""Other tools' engines over our spaces and our training: Ray Tune (`nas.integrations.ray_tune`)."""
