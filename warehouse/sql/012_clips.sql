create table clips (
    dataset_id varchar not null,
    clip_id varchar not null,
    source_id varchar,
    source_name varchar,
    identity varchar,
    split varchar,
    start_s double,
    stop_s double,
    num_frames integer,
    av_offset_frames integer,
    sync_confidence double,
    sync_backend varchar,
    quality double,
    quality_backend varchar,
    licence varchar,
    consent varchar,
    commercial_ok boolean,
    sha256 varchar,
    language varchar,
    corpus varchar,
    face_track integer,
    face_box varchar,
    reference_81 varchar,
    duplicate_of varchar,
    identity_from varchar,
    primary key (dataset_id, clip_id)
);

comment on table clips is
    'Clips of a data set: one row per clip.';

comment on column clips.dataset_id is 'Data set and version; joins datasets.';
comment on column clips.clip_id is 'Content key of the clip.';
comment on column clips.source_id is 'Content key of the file the clip was cut from.';
comment on column clips.source_name is 'File name of the source, for people.';
comment on column clips.identity is 'Who is seen; splits are disjoint in it.';
comment on column clips.split is 'train, val for validation, or test.';
comment on column clips.start_s is 'First instant of the clip in its source, seconds.';
comment on column clips.stop_s is 'End of the clip in its source, seconds.';
comment on column clips.num_frames is 'Frames at 25 fps.';
comment on column clips.av_offset_frames is 'Measured offset that was corrected; positive: the matching sound lay earlier than the picture.';
comment on column clips.sync_confidence is 'Sync-C of the clip after correction.';
comment on column clips.sync_backend is 'Backend of sync_confidence.';
comment on column clips.quality is 'Image quality score.';
comment on column clips.quality_backend is 'Backend of quality.';
comment on column clips.licence is 'Licence of the footage.';
comment on column clips.consent is 'Consent of the person seen, in the words of the corpus; null where it says nothing.';
comment on column clips.commercial_ok is 'Whether the clip may be used commercially: false where the licence or a person excludes it, true where the licence allows it, null when unknown.';
comment on column clips.sha256 is 'SHA-256 of the clip''s video file.';
comment on column clips.language is 'Language that is spoken, as the corpus says.';
comment on column clips.corpus is 'Published corpus that the clip is from; null for a folder of videos.';
comment on column clips.face_track is 'Number of the face among those of its shot.';
comment on column clips.face_box is 'Median box of the face in the source, pixels: left,top,right,bottom.';
comment on column clips.reference_81 is 'Reference that the clip yields for training windows of 81 frames: disjoint, partial or none; null for clips of older runs.';
comment on column clips.duplicate_of is 'Clip that this one nearly repeats, perhaps one of another data set; null where it repeats none.';
comment on column clips.identity_from is 'Where the identity comes from: official (the corpus), cluster (its faces) or source (nobody knows it).';
