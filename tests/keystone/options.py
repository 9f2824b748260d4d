"""Prints every option of an installed Keystone: section, name, default, separated by tabs.

    VICAR_CACHE=.cache; .cache/keystone/bin/python tests/keystone/options.py > server/src/config/keystone.txt

Names that options had before have lines of their own. Where a default is a list, or is none, it is empty.
"""
import warnings

warnings.simplefilter('ignore')

from oslo_config import cfg, generator

NAMESPACES = [
    'keystone', 'oslo.cache', 'oslo.log', 'oslo.messaging', 'oslo.policy', 'oslo.db', 'oslo.middleware',
    'oslo.middleware.cors', 'oslo.middleware.healthcheck', 'oslo.service.service', 'oslo.reports', 'osprofiler',
]


def text(name, default):
    if name == 'hostname':                  # this machine's
        return ''
    if isinstance(default, (str, int, float)):
        return str(default).replace('\n', ' ').replace('\t', ' ')
    return ''


def main():
    generator.register_cli_opts(cfg.ConfigOpts())
    lines = {}
    for _, groups in generator._list_opts(NAMESPACES):
        for group, options in groups:
            section = getattr(group, 'name', group) or 'DEFAULT'
            for option in options:
                lines[section, option.dest] = text(option.dest, option.default)
                for old in option.deprecated_opts:
                    name = (old.name or option.dest).replace('-', '_')
                    lines.setdefault((old.group or section, name), text(option.dest, option.default))
    for (section, name), default in sorted(lines.items()):
        print(section, name, default, sep='\t')


if __name__ == '__main__':
    main()
