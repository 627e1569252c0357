"""The small network for two CPU cores: a ResNet with one basic block a stage, for images of 128x64 pixels."""

from torchvision.models.resnet import BasicBlock

from reid_lib.networks.resnet import ResNet


def tiny(width: int = 32) -> ResNet:  # decision BASE-2
    """Return the CPU network: feature of 8 x ``width`` (256), map 8x4 for 128x64.

    The stem is one 3x3 convolution of stride 2, and the first stage has stride 2 where ResNet-50 has its max
    pooling, which learns stripes of 3 to 6 pixels more slowly. The last stride is 1.

    Args:
        width: channels of the stem; the stages have 1, 2, 4 and 8 times as many.
    """
    return ResNet(BasicBlock, (1, 1, 1, 1), width, last_stride=1, stem_kernel=3, max_pool=False, input_size=(128, 64))
