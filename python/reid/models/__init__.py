"""Networks: backbone, pooling, training head, the embedder they make, and where pretrained weights come
from."""
