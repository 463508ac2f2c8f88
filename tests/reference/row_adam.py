"""Adam with a clock for each row, weight by weight in plain Python."""

import math


class SlowRowAdam:
    """Moves the rows of a list of lists."""

    def __init__(self, rows, lr, betas=(0.9, 0.999), eps=1e-8, scale_per_row=False):
        self.rows, self.lr, self.betas, self.eps = rows, lr, betas, eps
        self.scale_per_row = scale_per_row
        self.steps = [0] * len(rows)
        self.first = [[0.0] * len(row) for row in rows]
        self.second = [[0.0] * len(row) for row in rows]

    def step(self, gradients):
        """`gradients`: row -> its gradient; other rows stay."""
        a, b = self.betas
        for r, gradient in gradients.items():
            self.steps[r] += 1
            mean_square = sum(g * g for g in gradient) / len(gradient)
            for h, g in enumerate(gradient):
                square = mean_square if self.scale_per_row else g * g
                self.first[r][h] = a * self.first[r][h] + (1 - a) * g
                self.second[r][h] = b * self.second[r][h] + (1 - b) * square
                first = self.first[r][h] / (1 - a ** self.steps[r])
                second = self.second[r][h] / (1 - b ** self.steps[r])
                self.rows[r][h] -= self.lr * first / (math.sqrt(second) + self.eps)
