/** Names that change while they are looked at. */
import { gotSecret, inWorkspace, type Attempt } from './attempt.ts';

export const races: readonly Attempt[] = [
  { id: 'race-hidden', title: 'exchange a link to a hidden file with a file of its own while the name is opened', plain: 'user', by: ['view'], attempt: '$TRY flip_link $W/mine $W/link $HIDDEN/secret >$W/loot', won: gotSecret },
  { id: 'race-denied', title: 'the same with a denied file', plain: 'user', by: ['mounts'], attempt: '$TRY flip_link $W/mine $W/link $W/keys/secret >$W/loot', won: gotSecret },
  { id: 'race-folder', title: 'exchange the folder above a denied one with another while a file is opened below it', plain: 'user', by: ['mounts'], attempt: '$TRY flip_folder $W/mine $W/vault deep/secret >$W/loot', won: gotSecret },
  { id: 'race-descriptor', title: 'go to a denied folder through the name of a descriptor', plain: 'user', by: ['mounts'], attempt: 'exec 7<$W; cat /proc/self/fd/7/keys/secret >$W/loot', won: gotSecret },
  { id: 'race-fixed', title: 'exchange a read-only folder while a file is written below it', plain: 'user', by: ['mounts'], attempt: 'mkdir $W/mine; for i in 1 2 3 4 5; do $TRY exchange $W/mine $W/fixed /dev/null; echo $TOKEN >>$W/mine/file; echo $TOKEN >>$W/fixed/file; done 2>/dev/null', won: (seen) => inWorkspace('fixed/file')(seen) },
];
