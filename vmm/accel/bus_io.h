/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The software CPU's I/O operations bound to a struct bus (their opaque). */
#ifndef VMDECK_ACCEL_BUS_IO_H
#define VMDECK_ACCEL_BUS_IO_H

#include "vmm/bus/bus.h"
#include "vmm/cpu/cpu.h"

extern const struct cpu_io_ops accel_bus_io;

#endif
