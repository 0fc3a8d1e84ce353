/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A page of text to read: scrolls, searches, follows a growing end. */
#ifndef VMDECK_UI_PAGER_H
#define VMDECK_UI_PAGER_H

struct view;

/* Text is copied. refresh (NULL: none) is called once a second and may call pager_set.
 * opaque is heap memory that the page frees. */
struct view *pager_open(const char *title, const char *text,
                        void (*refresh)(struct view *v, void *opaque), void *opaque);
/* Keeps the position; stays at the end when it was there. */
void pager_set(struct view *v, const char *text);
/* Goes to the end and follows it. */
void pager_follow(struct view *v);

#endif
